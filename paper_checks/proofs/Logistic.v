(* The logistic problem: l_i = log(1 + exp(-z_i.theta)), L_val the mean of log(1 +
   exp(-z~_j.theta)), theta in R^p, z_i = y_i x_i. Definitions and facts for C03 (b).

   Stated: A1 holds exactly when no row z_i is 0; a small L_val forces every validation margin
   to be large; strictly separable validation data have L_val* = 0. No infimum is attained here,
   apart from trivial rows.

   Excluded middle comes in with exp and ln, which the library defines by means of it. *)

From BDTheory Require Import Base Vectors.

(* The loss as a function of the margin --------------------------------------------------------- *)

(* log(1 + exp(-u)), u the margin. *)
Definition log_loss (u : R) : R := ln (1 + exp (- u)).

Lemma log_loss_pos : forall u, 0 < log_loss u.
Proof.
  intros u. unfold log_loss. rewrite <- ln_1. assert (H := exp_pos (- u)).
  apply ln_increasing; lra.
Qed.

Lemma log_loss_0 : log_loss 0 = ln 2.
Proof. unfold log_loss. rewrite Ropp_0, exp_0. reflexivity. Qed.

(* log(1 + exp(-u)) >= -u. *)
Lemma log_loss_margin : forall u, - u <= log_loss u.
Proof.
  intros u. unfold log_loss. rewrite <- (ln_exp (- u)) at 1. assert (H := exp_pos (- u)).
  left. apply ln_increasing; lra.
Qed.

Lemma log_loss_decreasing : forall u u', u < u' -> log_loss u' < log_loss u.
Proof.
  intros u u' H. unfold log_loss. assert (Hp := exp_pos (- u')).
  assert (exp (- u') < exp (- u)) by (apply exp_increasing; lra). apply ln_increasing; lra.
Qed.

(* log(1 + exp(-u)) <= exp(-u), so the loss falls below every eps > 0. *)
Lemma log_loss_small : forall eps u, 0 < eps -> / eps <= u -> log_loss u <= eps.
Proof.
  intros eps u Heps Hu. apply Rle_trans with (exp (- u)).
  - unfold log_loss. rewrite <- (ln_exp (exp (- u))) at 2. assert (H := exp_pos (- u)).
    left. apply ln_increasing; [lra|]. apply exp_ineq1. lra.
  - apply Rle_trans with (exp (- / eps)); [apply exp_le_compat; lra|].
    left. now apply exp_small.
Qed.

(* Margins u and -u: log(1 + exp(-u)) + log(1 + exp(u)) >= 2 log 2. *)
Lemma both_signs : forall u, 2 * ln 2 <= log_loss u + log_loss (- u).
Proof.
  intros u. unfold log_loss. assert (H := exp_pos (- u)). assert (H' := exp_pos (- - u)).
  assert (Hprod : exp (- u) * exp (- - u) = 1) by (rewrite <- exp_plus, Rplus_opp_r; apply exp_0).
  replace (2 * ln 2) with (ln (2 * 2)) by (rewrite ln_mult; lra).
  rewrite <- ln_mult by lra. set (x := exp (- u)) in *. set (y := exp (- - u)) in *.
  assert (Hsum : 2 <= x + y) by (assert (Hsq := pow2_ge_0 (x - y)); nra).
  destruct (Req_dec (2 * 2) ((1 + x) * (1 + y))) as [-> |Hne]; [lra|].
  left. apply ln_increasing; nra.
Qed.

(* log(1 + exp(-u)) lies above its tangent at v, of slope -s with s = exp(-v) / (1 + exp(-v)). *)
Lemma log_loss_tangent : forall u v,
  log_loss v - exp (- v) / (1 + exp (- v)) * (u - v) <= log_loss u.
Proof.
  intros u v. assert (Hv := exp_pos (- v)). assert (Hu := exp_pos (- u)).
  set (s := exp (- v) / (1 + exp (- v))). set (t := u - v).
  assert (Hs : s * (1 + exp (- v)) = exp (- v)) by (unfold s; field; lra).
  (* exp(-s t) <= (1 - s) exp(0) + s exp(-t), from exp(x) >= exp(-s t) (1 + x + s t). *)
  assert (Hline : forall x, exp (- (s * t)) * (1 + x + s * t) <= exp x).
  { intros x. replace x with (- (s * t) + (x + s * t)) at 2 by lra. rewrite exp_plus.
    apply Rmult_le_compat_l; [left; apply exp_pos|].
    destruct (Req_dec (x + s * t) 0) as [Hz|Hz]; [rewrite Hz, exp_0; lra|].
    left. assert (H := exp_ineq1 _ Hz). lra. }
  assert (H0 := Hline 0). assert (Ht := Hline (- t)). rewrite exp_0 in H0.
  assert (Hsv : 0 < s < 1) by (split; nra).
  assert (Hmean : exp (- (s * t)) <= 1 - s + s * exp (- t)) by nra.
  assert (Hprod : exp (- u) = exp (- v) * exp (- t)).
  { rewrite <- exp_plus. f_equal. unfold t. lra. }
  unfold log_loss. replace (ln (1 + exp (- v)) - s * t)
    with (ln ((1 + exp (- v)) * exp (- (s * t)))).
  - assert (Hle : (1 + exp (- v)) * exp (- (s * t)) <= 1 + exp (- u)).
    { apply Rle_trans with ((1 + exp (- v)) * (1 - s + s * exp (- t))).
      - apply Rmult_le_compat_l; lra.
      - rewrite Hprod. apply Req_le.
        replace ((1 + exp (- v)) * (1 - s + s * exp (- t))) with
          (1 + exp (- v) - s * (1 + exp (- v)) + s * (1 + exp (- v)) * exp (- t)) by ring.
        rewrite Hs. ring. }
    destruct Hle as [Hlt|Heq]; [|rewrite Heq; lra]. left. apply ln_increasing; [|exact Hlt].
    apply Rmult_lt_0_compat; [lra|apply exp_pos].
  - rewrite ln_mult, ln_exp; [lra|lra|apply exp_pos].
Qed.

(* The logistic problem ------------------------------------------------------------------------- *)

(* n training rows z i, m validation rows zt j, each in R^p. *)
Definition logistic (p n m : nat) (z zt : nat -> nat -> R) : Problem :=
  {| Theta := nat -> R; N := n;
     l := fun i theta => log_loss (dot p (z i) theta);
     L_val := fun theta => / INR m * sum m (fun j => log_loss (dot p (zt j) theta)) |}.

(* A vector with all coordinates c, for examples in one dimension. *)
Definition row (c : R) : nat -> R := fun _ => c.

(* Strictly separable validation data. *)
Definition separable (p m : nat) (zt : nat -> nat -> R) : Prop :=
  exists theta, forall j, (j < m)%nat -> 0 < dot p (zt j) theta.

Section Logistic.
  Context {p n m : nat} {z zt : nat -> nat -> R}.
  #[local] Hint Extern 0 Problem => exact (logistic p n m z zt) : typeclass_instances.

  Lemma l_nonneg : forall i theta, 0 <= l i theta.
  Proof. intros i theta. left. apply log_loss_pos. Qed.

  (* F_w(0) = log 2. *)
  Lemma F_0 : forall w, simplex w -> F w (fun _ => 0) = ln 2.
  Proof.
    intros w Hw. rewrite <- (mean_const w (ln 2) Hw). apply sum_ext. intros i Hi. simpl.
    now rewrite dot_0, log_loss_0.
  Qed.

  (* One row with a positive margin is fitted to any eps further out. *)
  Lemma log_loss_far : forall (x theta : nat -> R) eps, 0 < dot p x theta -> 0 < eps ->
    exists t, 0 < t /\ forall t', t <= t' -> log_loss (dot p x (fun k => t' * theta k)) <= eps.
  Proof.
    intros x theta eps Hpos Heps. set (c := dot p x theta) in *.
    assert (Hinv : 0 < / eps) by now apply Rinv_0_lt_compat.
    assert (Hdiv : 0 < / eps / c) by now apply Rdiv_lt_0_compat.
    exists (/ eps / c). split; [exact Hdiv|]. intros t' Ht'.
    rewrite dot_scal. fold c. apply log_loss_small; [exact Heps|].
    replace (/ eps) with (/ eps / c * c) by (field; lra). apply Rmult_le_compat_r; lra.
  Qed.

  (* A1 holds exactly when no row z_i is 0. *)
  Theorem A1_rows : A1 <-> forall i, (i < n)%nat -> exists k, (k < p)%nat /\ z i k <> 0.
  Proof.
    split; intros H i Hi.
    - destruct (search p (fun k => z i k <> 0) (fun k => z i k = 0)) as [Hk|Hk]; [|exact Hk|].
      + intros k _. destruct (Req_dec (z i k) 0); [now right|now left].
      + exfalso. destruct (H i Hi) as [_ Hinf]. assert (Hln2 := ln_lt_2).
        enough (ln 2 <= 0) by lra. apply Hinf. intros r [theta ->]. simpl. unfold dot.
        rewrite (sum_ext p _ (fun _ => 0)), sum_zero, log_loss_0; [lra|].
        intros k Hk'. rewrite (Hk k Hk'). lra.
    - destruct (H i Hi) as [k [Hk Hz]]. split; [intros r [theta ->]; apply l_nonneg|].
      intros b Hb. apply le_epsilon. intros eps Heps.
      assert (Hpos : 0 < dot p (z i) (z i)).
      { assert (Hterm := sum_term p (fun k => z i k * z i k) k). simpl in Hterm.
        assert (z i k * z i k <= dot p (z i) (z i)) by (apply Hterm; [intros; nra|exact Hk]). nra. }
      destruct (log_loss_far (z i) (z i) eps Hpos Heps) as [t [_ Ht]].
      assert (b <= l i (fun k => t * z i k)) by (apply Hb; now exists (fun k => t * z i k)).
      specialize (Ht t (Rle_refl t)). simpl in *. lra.
  Qed.

  (* A small L_val forces large margins. *)
  Lemma margins_large : forall M, exists d, 0 < d /\
    forall theta, L_val theta <= d -> forall j, (j < m)%nat -> M <= dot p (zt j) theta.
  Proof.
    intros M. destruct (Nat.eq_dec m 0) as [Hm|Hm]; [exists 1; split; [lra|lia]|].
    assert (Hinv : 0 < / INR m) by (apply Rinv_0_lt_compat, lt_0_INR; lia).
    exists (/ INR m * log_loss M).
    split; [apply Rmult_lt_0_compat; [exact Hinv|apply log_loss_pos]|].
    intros theta Hval j Hj. apply Rnot_lt_le. intros Hlt. apply log_loss_decreasing in Hlt.
    assert (Hterm := sum_term m (fun j => log_loss (dot p (zt j) theta)) j
      (fun _ _ => Rlt_le _ _ (log_loss_pos _)) Hj). simpl in Hterm, Hval.
    apply Rmult_le_reg_l in Hval; [lra|exact Hinv].
  Qed.

  Lemma L_val_nonneg : forall theta, 0 <= L_val theta.
  Proof.
    intros theta. simpl. destruct (Nat.eq_dec m 0) as [->|Hm]; [simpl; lra|].
    apply Rmult_le_pos; [left; apply Rinv_0_lt_compat, lt_0_INR; lia|].
    apply sum_nonneg. intros j _. left. apply log_loss_pos.
  Qed.

  (* Far out on a ray with positive validation margins, L_val is below every eps > 0. *)
  Lemma L_val_far : forall theta eps,
    (forall j, (j < m)%nat -> 0 < dot p (zt j) theta) -> 0 < eps ->
    exists t, 0 < t /\ forall t', t <= t' -> L_val (fun k => t' * theta k) <= eps.
  Proof.
    intros theta eps Hsep Heps.
    assert (Hall : exists t, 0 < t /\ forall t', t <= t' ->
      sum m (fun j => log_loss (dot p (zt j) (fun k => t' * theta k))) <= INR m * eps).
    { clear z. induction m as [|m' IH]; [exists 1; simpl; split; [lra|intros; lra]|].
      destruct IH as [t1 [Ht1 H1]]; [auto with arith|].
      destruct (log_loss_far (zt m') theta eps (Hsep m' ltac:(lia)) Heps) as [t2 [Ht2 H2]].
      exists (t1 + t2). split; [lra|]. intros t' Ht'. rewrite S_INR. simpl sum.
      specialize (H1 t' ltac:(lra)). specialize (H2 t' ltac:(lra)). lra. }
    destruct Hall as [t [Ht Hall]]. exists t. split; [exact Ht|]. intros t' Ht'. simpl.
    specialize (Hall t' Ht'). destruct (Nat.eq_dec m 0) as [->|Hm]; [simpl; lra|].
    assert (Hpos : 0 < INR m) by (apply lt_0_INR; lia).
    apply Rmult_le_reg_l with (INR m); [exact Hpos|].
    rewrite <- Rmult_assoc, Rinv_r, Rmult_1_l; lra.
  Qed.

  (* Strictly separable: L_val* = 0. *)
  Lemma separable_star : forall v, separable p m zt -> L_val_star v -> v <= 0.
  Proof.
    intros v Hsep [Hlow _]. apply le_epsilon. intros eps Heps.
    destruct Hsep as [theta Hsep].
    destruct (L_val_far theta eps Hsep Heps) as [t [_ Ht]]. specialize (Ht t (Rle_refl t)).
    assert (v <= L_val (fun k => t * theta k)) by (apply Hlow; now exists (fun k => t * theta k)).
    lra.
  Qed.
End Logistic.

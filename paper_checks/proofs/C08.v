(* C08(a), closed-form weights: softmax(-l/tau) minimises F_w + tau KL(w, uniform).

   Stated, at one fixed theta, for N > 0 real losses of any sign and tau > 0:
   (i) Gibbs: KL(w, u) >= 0, and 0 only for w = u.
   (ii) F_w + tau KL(w, uniform) = smin_tau + tau KL(w, softmax(-l/tau)) for every w in the simplex;
   so softmax(-l/tau) is the only minimiser, and smin_tau = -tau log((1/N) sum_i exp(-l_i/tau)) the
   value. (iii) min l <= smin_tau <= min l + tau log N. (iv) The two ends of the dial, as bounds for
   every tau: a sample that is worse than another by D has at most exp(-D/tau) of its weight, and if
   all losses are within D of each other then N w_i is between exp(-D/tau) and exp(D/tau).
   (v) For l = -log pi, w_i is proportional to pi_i^(1/tau).

   An instance is in C08_instances.v.

   Not stated: the limits tau -> 0 and tau -> infinity as limits (they follow from (iv)); importance
   ratios, their biases and tempering (b); the number of steps of a learned selector (c). *)

From BDTheory Require Import Base Useful.

(* KL(w, u) = sum_i w_i log(w_i / u_i). A term with w_i = 0 is 0, whatever log is there. *)
Definition KL (n : nat) (w u : nat -> R) : R := sum n (fun i => w i * ln (w i / u i)).

(* Gibbs ---------------------------------------------------------------------------------------- *)

(* log x <= x - 1, and < unless x = 1. *)
Lemma ln_below : forall x, 0 < x -> x <> 1 -> ln x < x - 1.
Proof.
  intros x Hx Hne. apply exp_lt_inv. rewrite exp_ln by exact Hx.
  assert (H := exp_ineq1 (x - 1) ltac:(lra)). lra.
Qed.

(* One term: w log(w/u) >= w - u, and > unless w = u. *)
Lemma gibbs_term : forall w u, 0 <= w -> 0 < u -> w <> u -> w - u < w * ln (w / u).
Proof.
  intros w u Hw Hu Hne. destruct Hw as [Hw|<-]; [|lra].
  assert (Hq : 0 < u / w) by now apply Rdiv_lt_0_compat.
  assert (H : ln (u / w) < u / w - 1).
  { apply ln_below; [exact Hq|]. intros H1. apply Hne. apply Rmult_eq_compat_r with (r := w) in H1.
    unfold Rdiv in H1. rewrite Rmult_assoc, Rinv_l in H1; lra. }
  replace (w / u) with (/ (u / w)) by (field; lra). rewrite ln_Rinv by exact Hq.
  assert (w * ln (u / w) < w * (u / w - 1)) by (apply Rmult_lt_compat_l; assumption).
  assert (w * (u / w - 1) = u - w) by (field; lra). lra.
Qed.

Lemma gibbs_term_le : forall w u, 0 <= w -> 0 < u -> w - u <= w * ln (w / u).
Proof.
  intros w u Hw Hu. destruct (Req_dec w u) as [<-|Hne]; [|left; now apply gibbs_term].
  unfold Rdiv. rewrite Rinv_r, ln_1; lra.
Qed.

(* Small facts ---------------------------------------------------------------------------------- *)

Lemma ln_le : forall x y, 0 < x -> x <= y -> ln x <= ln y.
Proof. intros x y Hx [H| ->]; [left; now apply ln_increasing|right; reflexivity]. Qed.

Lemma div_le : forall x y tau, 0 < tau -> y <= x -> - x / tau <= - y / tau.
Proof. intros x y tau Ht H. apply Rmult_le_compat_r; [left; now apply Rinv_0_lt_compat|lra]. Qed.

Section C08.
  Context {P : Problem}.

  (* (i) KL(w, u) >= 0 on the simplex. *)
  Theorem C08_gibbs : forall w u, simplex w -> simplex u -> (forall i, (i < N)%nat -> 0 < u i) ->
    0 <= KL N w u.
  Proof.
    intros w u [Hw Hw1] [_ Hu1] Hu.
    replace 0 with (sum N (fun i => w i + -1 * u i)) by (rewrite sum_plus, sum_scal; lra).
    apply sum_le. intros i Hi. assert (H := gibbs_term_le (w i) (u i) (Hw i Hi) (Hu i Hi)). lra.
  Qed.

  (* (i) KL(w, u) <= 0 only for w = u. *)
  Theorem C08_gibbs_equal : forall w u, simplex w -> simplex u ->
    (forall i, (i < N)%nat -> 0 < u i) -> KL N w u <= 0 -> forall i, (i < N)%nat -> w i = u i.
  Proof.
    intros w u [Hw Hw1] [_ Hu1] Hu HKL i Hi.
    set (excess := fun j => w j * ln (w j / u j) + (-1 * w j + u j)).
    assert (Hpos : forall j, (j < N)%nat -> 0 <= excess j).
    { intros j Hj. assert (H := gibbs_term_le (w j) (u j) (Hw j Hj) (Hu j Hj)).
      unfold excess. lra. }
    assert (Hsum : sum N excess = KL N w u).
    { unfold excess, KL. rewrite !sum_plus, sum_scal. lra. }
    assert (Hterm := sum_term N excess i Hpos Hi).
    destruct (Req_dec (w i) (u i)) as [H|H]; [exact H|exfalso].
    assert (Hlt := gibbs_term (w i) (u i) (Hw i Hi) (Hu i Hi) H). rewrite Hsum in Hterm.
    unfold excess in Hterm. lra.
  Qed.

  (* The closed form --------------------------------------------------------------------------- *)

  Definition Z (tau : R) (theta : Theta) : R := sum N (fun i => exp (- l i theta / tau)).
  Definition softmax (tau : R) (theta : Theta) : nat -> R :=
    fun i => exp (- l i theta / tau) / Z tau theta.
  Definition smin (tau : R) (theta : Theta) : R :=
    - tau * ln (/ INR N * sum N (fun i => exp (- l i theta / tau))).

  Context (tau : R) (theta : Theta) (Htau : 0 < tau) (HN : (0 < N)%nat).

  Lemma INR_N : 0 < INR N.
  Proof. now apply lt_0_INR. Qed.

  (* Each of the terms is a part of Z. *)
  Lemma Z_term : forall i, (i < N)%nat -> exp (- l i theta / tau) <= Z tau theta.
  Proof.
    intros i Hi. apply (sum_term N (fun i => exp (- l i theta / tau))); [|exact Hi].
    intros j _. left. apply exp_pos.
  Qed.

  Lemma Z_pos : 0 < Z tau theta.
  Proof. apply Rlt_le_trans with (2 := Z_term 0%nat HN). apply exp_pos. Qed.

  Lemma softmax_pos : forall i, 0 < softmax tau theta i.
  Proof. intros i. apply Rdiv_lt_0_compat; [apply exp_pos|exact Z_pos]. Qed.

  Lemma softmax_simplex : simplex (softmax tau theta).
  Proof.
    split; [intros i _; left; apply softmax_pos|]. unfold softmax.
    rewrite (sum_ext N _ (fun i => / Z tau theta * exp (- l i theta / tau)))
      by (intros; unfold Rdiv; ring).
    rewrite sum_scal. apply Rinv_l. apply Rgt_not_eq, Z_pos.
  Qed.

  Lemma smin_ln : smin tau theta = tau * ln (INR N) - tau * ln (Z tau theta).
  Proof.
    unfold smin. fold (Z tau theta).
    rewrite ln_mult, ln_Rinv;
      [ring|exact INR_N|apply Rinv_0_lt_compat, INR_N|exact Z_pos].
  Qed.

  (* log w = -l/tau - log Z for the softmax weights. *)
  Lemma ln_over_softmax : forall w i, 0 < w ->
    ln (w / softmax tau theta i) = ln w + l i theta / tau + ln (Z tau theta).
  Proof.
    intros w i Hw. assert (HZ := Z_pos). assert (He := exp_pos (- l i theta / tau)).
    unfold softmax.
    replace (w / (exp (- l i theta / tau) / Z tau theta))
      with (w * / exp (- l i theta / tau) * Z tau theta) by (field; lra).
    assert (Hi := Rinv_0_lt_compat _ He).
    assert (0 < w * / exp (- l i theta / tau)) by now apply Rmult_lt_0_compat.
    rewrite !ln_mult, ln_Rinv, ln_exp by assumption. field. lra.
  Qed.

  (* (ii) The excess of w over smin_tau is tau KL(w, softmax(-l/tau)). *)
  Theorem C08_identity : forall w, simplex w ->
    F w theta + tau * KL N w uniform = smin tau theta + tau * KL N w (softmax tau theta).
  Proof.
    intros w Hw. rewrite <- (mean_const w (smin tau theta) Hw). unfold F, KL.
    rewrite <- !sum_scal, <- !sum_plus. apply sum_ext. intros i Hi.
    destruct (proj1 Hw i Hi) as [Hpos|<-]; [|ring].
    rewrite smin_ln, ln_over_softmax by exact Hpos. unfold uniform, Rdiv.
    rewrite Rinv_inv, ln_mult by (exact Hpos || exact INR_N). field. lra.
  Qed.

  (* (ii) F_w + tau KL(w, uniform) >= smin_tau for every w in the simplex. *)
  Theorem C08_bound : forall w, simplex w -> smin tau theta <= F w theta + tau * KL N w uniform.
  Proof.
    intros w Hw. rewrite (C08_identity w Hw).
    assert (H := C08_gibbs w (softmax tau theta) Hw softmax_simplex (fun i _ => softmax_pos i)).
    assert (0 <= tau * KL N w (softmax tau theta)) by (apply Rmult_le_pos; lra). lra.
  Qed.

  (* (ii) softmax(-l/tau) attains smin_tau. *)
  Theorem C08_value :
    F (softmax tau theta) theta + tau * KL N (softmax tau theta) uniform = smin tau theta.
  Proof.
    rewrite (C08_identity _ softmax_simplex). unfold KL.
    rewrite (sum_ext N _ (fun _ => 0)), sum_zero; [ring|]. intros i _.
    assert (H := softmax_pos i). unfold Rdiv. rewrite Rinv_r, ln_1 by lra. ring.
  Qed.

  (* (ii) No other w in the simplex attains smin_tau. *)
  Theorem C08_unique : forall w, simplex w ->
    F w theta + tau * KL N w uniform <= smin tau theta ->
    forall i, (i < N)%nat -> w i = softmax tau theta i.
  Proof.
    intros w Hw Hle.
    apply C08_gibbs_equal; [exact Hw|exact softmax_simplex|intros; apply softmax_pos|].
    rewrite (C08_identity w Hw) in Hle. apply Rmult_le_reg_l with tau; lra.
  Qed.

  (* (iii) min l <= smin_tau <= min l + tau log N; m is min l. *)
  Theorem C08_smin_bounds : forall m, (forall i, (i < N)%nat -> m <= l i theta) ->
    (exists i, (i < N)%nat /\ l i theta = m) ->
    m <= smin tau theta <= m + tau * ln (INR N).
  Proof.
    intros m Hm [i [Hi <-]]. rewrite smin_ln. split.
    - (* Z <= N exp(-m/tau) *)
      assert (HZ : Z tau theta <= INR N * exp (- l i theta / tau)).
      { rewrite <- sum_const. apply sum_le. intros j Hj. apply exp_le_compat, div_le; auto. }
      apply ln_le in HZ; [|exact Z_pos].
      rewrite ln_mult, ln_exp in HZ by (apply INR_N || apply exp_pos).
      apply Rmult_le_compat_l with (r := tau) in HZ; [|lra].
      replace (tau * (ln (INR N) + - l i theta / tau))
        with (tau * ln (INR N) - l i theta) in HZ by (field; lra). lra.
    - (* Z >= exp(-m/tau) *)
      assert (HZ := Z_term i Hi). apply ln_le in HZ; [|apply exp_pos]. rewrite ln_exp in HZ.
      apply Rmult_le_compat_l with (r := tau) in HZ; [|lra].
      replace (tau * (- l i theta / tau)) with (- l i theta) in HZ by (field; lra). lra.
  Qed.

  (* (iv) The ratio of two weights depends on the difference of their losses only. *)
  Theorem C08_ratio : forall i j,
    softmax tau theta i = exp (- (l i theta - l j theta) / tau) * softmax tau theta j.
  Proof.
    intros i j. assert (HZ := Z_pos). unfold softmax.
    replace (- l i theta / tau) with (- (l i theta - l j theta) / tau + - l j theta / tau)
      by (field; lra).
    rewrite exp_plus. field. lra.
  Qed.

  (* (iv) tau -> 0: a sample that is worse than another one by D has weight at most exp(-D/tau). *)
  Theorem C08_cold : forall i j D, (i < N)%nat -> (j < N)%nat -> l j theta + D <= l i theta ->
    softmax tau theta i <= exp (- D / tau).
  Proof.
    intros i j D Hi Hj HD. rewrite (C08_ratio i j). rewrite <- (Rmult_1_r (exp (- D / tau))).
    apply Rmult_le_compat; [left; apply exp_pos|left; apply softmax_pos| |].
    - apply exp_le_compat, div_le; [exact Htau|]. lra.
    - destruct softmax_simplex as [_ <-]. apply sum_term; [|exact Hj].
      intros. left. apply softmax_pos.
  Qed.

  (* (iv) tau -> infinity: where no two losses differ by more than D, N w_i is between exp(-D/tau)
     and exp(D/tau). *)
  Theorem C08_hot : forall D,
    (forall i j, (i < N)%nat -> (j < N)%nat -> l i theta - l j theta <= D) ->
    forall i, (i < N)%nat -> exp (- D / tau) <= INR N * softmax tau theta i <= exp (D / tau).
  Proof.
    intros D HD i Hi. rewrite <- sum_const.
    rewrite <- (Rmult_1_r (exp (- D / tau))), <- (Rmult_1_r (exp (D / tau))).
    rewrite <- (proj2 softmax_simplex), <- !sum_scal.
    split; apply sum_le; intros j Hj; rewrite (C08_ratio i j);
      (apply Rmult_le_compat_r; [left; apply softmax_pos|apply exp_le_compat]).
    - apply div_le; [exact Htau|]. specialize (HD i j Hi Hj). lra.
    - replace D with (- - D) by ring. apply div_le; [exact Htau|]. specialize (HD j i Hj Hi). lra.
  Qed.

  (* (v) For l = -log pi the weights are pi^(1/tau), normalised. *)
  Theorem C08_policy : forall pi, (forall i, (i < N)%nat -> l i theta = - ln (pi i)) ->
    forall i, (i < N)%nat ->
    softmax tau theta i = Rpower (pi i) (/ tau) / sum N (fun j => Rpower (pi j) (/ tau)).
  Proof.
    intros pi Hpi i Hi.
    assert (H : forall j, (j < N)%nat -> exp (- l j theta / tau) = Rpower (pi j) (/ tau)).
    { intros j Hj. unfold Rpower. rewrite (Hpi j Hj). f_equal. field. lra. }
    unfold softmax, Z. rewrite (H i Hi). f_equal. now apply sum_ext.
  Qed.
End C08.

(* C03 (b): useless samples get zero weight under the logistic loss, without A2.

   l_i = log(1 + exp(-z_i.theta)), L_val the mean of log(1 + exp(-z~_j.theta)), theta in R^p. A
   certificate for sample i: a_j >= 0 with -z_i = sum_j a_j z~_j. Given one,

   Stated: (i) l_i(theta) >= -z_i.theta = sum_j a_j z~_j.theta, and both go to infinity along every
   sequence of theta along which all validation margins do, if some a_j > 0; A1 gives such a j. (ii)
   w_i <= log 2 / sum_j a_j z~_j.theta, whenever the sum is positive, for theta that minimises F_w +
   (mu/2) |theta|^2, mu >= 0, and for any theta with F_w(theta) <= log 2. (iii) So w_i -> 0 when
   L_val -> 0, uniformly in w and mu. (iv) With strictly separable validation data, A1 and A3, a
   BDS-optimal w has w_i = 0. Nothing is attained here, so optimal is lim_BDS_optimal, and A3 and
   useful are meant through sequences. (v) The sample is then useless.

   That every useless sample has a certificate is in Farkas.v. Not stated: a rate in mu. *)

From BDTheory Require Import Base C01 C02 C02_limits Vectors Logistic.

Section C03_logistic.
  Variables (p n m : nat) (z zt : nat -> nat -> R).
  #[local] Hint Extern 0 Problem => exact (logistic p n m z zt) : typeclass_instances.

  (* a >= 0 with -z_i = sum_j a_j z~_j. *)
  Definition certificate (a : nat -> R) (i : nat) : Prop :=
    (forall j, (j < m)%nat -> 0 <= a j) /\
    forall k, (k < p)%nat -> - z i k = sum m (fun j => a j * zt j k).

  (* F_w with the ridge. *)
  Definition F_ridge (mu : R) (w theta : nat -> R) : R := F w theta + mu / 2 * dot p theta theta.

  (* (i) -z_i.theta = sum_j a_j z~_j.theta. *)
  Lemma certificate_margin : forall a i theta, certificate a i ->
    - dot p (z i) theta = sum m (fun j => a j * dot p (zt j) theta).
  Proof.
    intros a i theta [_ Ha]. unfold dot.
    rewrite (sum_ext m _ (fun j => sum p (fun k => a j * (zt j k * theta k))))
      by (intros; now rewrite sum_scal).
    rewrite <- sum_swap. replace (- sum p (fun k => z i k * theta k))
      with (-1 * sum p (fun k => z i k * theta k)) by lra.
    rewrite <- sum_scal. apply sum_ext. intros k Hk.
    replace (-1 * (z i k * theta k)) with (theta k * - z i k) by lra. rewrite (Ha k Hk).
    rewrite <- sum_scal. apply sum_ext. intros; lra.
  Qed.

  (* (i) l_i(theta) >= sum_j a_j z~_j.theta. *)
  Lemma certificate_loss : forall a i theta, certificate a i ->
    sum m (fun j => a j * dot p (zt j) theta) <= l i theta.
  Proof.
    intros a i theta Ha. rewrite <- (certificate_margin a i theta Ha). apply log_loss_margin.
  Qed.

  (* One a_j > 0 and margins of at least M give l_i >= a_j M. *)
  Lemma certificate_grows : forall a i j M theta, certificate a i -> (j < m)%nat -> 0 <= M ->
    (forall j', (j' < m)%nat -> M <= dot p (zt j') theta) ->
    a j * M <= - dot p (z i) theta.
  Proof.
    intros a i j M theta Ha Hj HM Hmargin. rewrite (certificate_margin a i theta Ha).
    destruct Ha as [Ha _]. apply Rle_trans with (a j * dot p (zt j) theta).
    - apply Rmult_le_compat_l; auto.
    - apply (sum_term m (fun j => a j * dot p (zt j) theta)); [|exact Hj].
      intros j' Hj'. specialize (Hmargin j' Hj'). apply Rmult_le_pos; [auto|lra].
  Qed.

  (* A1 (z_i is not 0) makes some a_j positive. *)
  Lemma A1_certificate : forall a i, A1 -> (i < n)%nat -> certificate a i ->
    exists j, (j < m)%nat /\ 0 < a j.
  Proof.
    intros a i HA1 Hi [Hpos Ha].
    destruct (search m (fun j => 0 < a j) (fun j => a j = 0)) as [H|H]; [|exact H|exfalso].
    - intros j Hj. specialize (Hpos j Hj). destruct Hpos; [now left|right; lra].
    - destruct (proj1 A1_rows HA1 i Hi) as [k [Hk Hz]]. specialize (Ha k Hk).
      rewrite (sum_ext m _ (fun _ => 0)), sum_zero in Ha; [lra|].
      intros j Hj. rewrite (H j Hj). lra.
  Qed.

  (* (i) Where all validation margins go to infinity, the margin of a sample with a certificate a
     goes to minus infinity, and its loss to infinity. *)
  Theorem C03_margins : forall a i (thetak : nat -> nat -> R),
    A1 -> (i < n)%nat -> certificate a i ->
    (forall j, (j < m)%nat -> cv_infty (fun k => dot p (zt j) (thetak k))) ->
    cv_infty (fun k => - dot p (z i) (thetak k)) /\ cv_infty (fun k => l i (thetak k)).
  Proof.
    intros a i thetak HA1 Hi Ha Hcv. destruct (A1_certificate a i HA1 Hi Ha) as [j [Hj Haj]].
    assert (Hall : forall M, exists K, forall k, (K <= k)%nat ->
      forall j', (j' < m)%nat -> M <= dot p (zt j') (thetak k)).
    { intros M. clear - Hcv. induction m as [|m' IH]; [exists 0%nat; lia|].
      destruct IH as [K HK]; [auto with arith|]. destruct (Hcv m' ltac:(lia) M) as [K' HK'].
      exists (max K K'). intros k Hk j' Hj'. destruct (Nat.eq_dec j' m') as [->|Hne].
      - left. apply HK'. lia.
      - apply HK; lia. }
    assert (Hmargin : cv_infty (fun k => - dot p (z i) (thetak k))).
    { intros M. set (M' := Rmax 0 ((M + 1) / a j)). destruct (Hall M') as [K HK].
      exists K. intros k Hk.
      assert (H := certificate_grows a i j M' (thetak k) Ha Hj (Rmax_l _ _) (HK k Hk)).
      assert (HM := Rmax_r 0 ((M + 1) / a j)). fold M' in HM.
      apply (Rmult_le_compat_l (a j)) in HM; [|lra].
      replace (a j * ((M + 1) / a j)) with (M + 1) in HM by (field; lra). lra. }
    split; [exact Hmargin|]. intros M. destruct (Hmargin M) as [K HK]. exists K. intros k Hk.
    apply Rlt_le_trans with (- dot p (z i) (thetak k)); [now apply HK|apply log_loss_margin].
  Qed.

  (* (ii) The bound, for any theta with F_w(theta) <= B. *)
  Theorem C03_bound : forall w a i theta B, simplex w -> (i < n)%nat -> certificate a i ->
    F w theta <= B -> 0 < sum m (fun j => a j * dot p (zt j) theta) ->
    w i <= B / sum m (fun j => a j * dot p (zt j) theta).
  Proof.
    intros w a i theta B [Hw _] Hi Ha HB Hpos.
    assert (Hloss := certificate_loss a i theta Ha).
    set (s := sum m (fun j => a j * dot p (zt j) theta)) in *.
    assert (Hterm : w i * l i theta <= F w theta).
    { apply (sum_term N (fun i => w i * l i theta)); [|exact Hi].
      intros j Hj. apply Rmult_le_pos; [auto|apply l_nonneg]. }
    assert (Hws : w i * s <= w i * l i theta) by (apply Rmult_le_compat_l; auto).
    apply Rmult_le_reg_r with s; [exact Hpos|]. unfold Rdiv.
    rewrite Rmult_assoc, Rinv_l, Rmult_1_r; lra.
  Qed.

  (* F_w <= log 2 at the minimiser of F_w + (mu/2) |theta|^2, for every mu >= 0. *)
  Lemma F_ridge_bound : forall mu w theta, 0 <= mu -> simplex w ->
    minimiser (F_ridge mu w) theta -> F w theta <= ln 2.
  Proof.
    intros mu w theta Hmu Hw Hmin. specialize (Hmin (fun _ => 0)). unfold F_ridge in Hmin.
    rewrite (F_0 w Hw), dot_0 in Hmin.
    assert (0 <= dot p theta theta) by (apply sum_nonneg; intros; nra). nra.
  Qed.

  (* (ii) Where -z_i = sum_j a_j z~_j with a >= 0: w_i <= log 2 / sum_j a_j z~_j.theta_mu(w),
     whenever the sum is positive. *)
  Theorem C03_bound_ridge : forall mu w a i theta, 0 <= mu -> simplex w -> (i < n)%nat ->
    certificate a i -> minimiser (F_ridge mu w) theta ->
    0 < sum m (fun j => a j * dot p (zt j) theta) ->
    w i <= ln 2 / sum m (fun j => a j * dot p (zt j) theta).
  Proof.
    intros mu w a i theta Hmu Hw Hi Ha Hmin Hpos.
    apply C03_bound; try assumption. now apply F_ridge_bound with mu.
  Qed.

  (* (iii) w_i -> 0 as L_val -> 0, uniformly in w, in theta and (by F_ridge_bound) in mu. *)
  Theorem C03_weights_vanish : forall a i B eps, A1 -> (i < n)%nat -> certificate a i -> 0 < eps ->
    exists d, 0 < d /\ forall w theta,
      simplex w -> F w theta <= B -> L_val theta <= d -> w i <= eps.
  Proof.
    intros a i B eps HA1 Hi Ha Heps. destruct (A1_certificate a i HA1 Hi Ha) as [j [Hj Haj]].
    set (M := Rmax 1 (B / (eps * a j))). assert (HM1 := Rmax_l 1 (B / (eps * a j))).
    assert (HMB := Rmax_r 1 (B / (eps * a j))). fold M in HM1, HMB.
    destruct (@margins_large p n m z zt M) as [d [Hd Hlarge]]. exists d. split; [exact Hd|].
    intros w theta Hw HB Hval.
    assert (Hgrow := certificate_grows a i j M theta Ha Hj ltac:(lra) (Hlarge theta Hval)).
    rewrite (certificate_margin a i theta Ha) in Hgrow.
    assert (Hbound := C03_bound w a i theta B Hw Hi Ha HB ltac:(nra)).
    set (s := sum m (fun j => a j * dot p (zt j) theta)) in *.
    assert (Hea : 0 < eps * a j) by now apply Rmult_lt_0_compat.
    apply Rle_trans with (B / s); [exact Hbound|]. apply Rmult_le_reg_r with s; [nra|].
    replace (B / s * s) with B by (field; nra).
    apply (Rmult_le_compat_l (eps * a j)) in HMB; [|lra].
    replace (eps * a j * (B / (eps * a j))) with B in HMB by (field; lra). nra.
  Qed.

  (* A certified sample has l_i as large as one likes where L_val is small. *)
  Lemma certificate_conflict : forall a i B, A1 -> (i < n)%nat -> certificate a i ->
    exists d, 0 < d /\ forall theta, L_val theta <= d -> B < l i theta.
  Proof.
    intros a i B HA1 Hi Ha. destruct (C03_weights_vanish a i B (1 / 2) HA1 Hi Ha) as [d [Hd H]];
      [lra|]. exists d. split; [exact Hd|]. intros theta Hval. apply Rnot_le_lt. intros Hle.
    specialize (H (e i) theta (e_simplex i Hi)). rewrite F_e in H by exact Hi.
    specialize (H Hle Hval). unfold e in H. rewrite Nat.eqb_refl in H. lra.
  Qed.

  (* (iv) Separable validation data, A1, A3: optimal weights are 0 on a certified sample. *)
  Theorem C03_logistic_zero : forall w a i, separable p m zt -> A1 -> lim_A3 -> lim_BDS_optimal w ->
    (i < n)%nat -> certificate a i -> w i = 0.
  Proof.
    intros w a i Hsep HA1 HA3 [Hw [v [HV Hv]]] Hi Ha.
    apply (proj1 (C02_lim_values_A3 HA3)), (separable_star v Hsep) in HV.
    destruct (proj1 Hw i Hi) as [Hpos|Hzero]; [|now symmetry]. exfalso.
    destruct (C03_weights_vanish a i (ln 2 + 1) (w i / 2) HA1 Hi Ha) as [d [Hd H]]; [lra|].
    assert (Hmin := Rmin_l 1 d). assert (Hmin' := Rmin_r 1 d).
    destruct (Hv (Rmin 1 d)) as [theta [Hnear Hval]]; [apply Rmin_pos; lra|].
    specialize (Hnear (fun _ => 0)). rewrite (F_0 w Hw) in Hnear.
    specialize (H w theta Hw). lra.
  Qed.

  (* (v) A certified sample is useless. *)
  Theorem C03_certificate_useless : forall a i, separable p m zt -> A1 -> (i < n)%nat ->
    certificate a i -> ~ lim_useful i.
  Proof.
    intros a i [sep Hsep] HA1 Hi Ha Huse.
    destruct (certificate_conflict a i (ln 2 + 1) HA1 Hi Ha) as [d [Hd H]].
    assert (Hmin := Rmin_l 1 (d / 2)). assert (Hmin' := Rmin_r 1 (d / 2)).
    destruct (Huse (Rmin 1 (d / 2))) as [theta [Hl Hval]]; [apply Rmin_pos; lra|].
    destruct (@L_val_far p n m z zt sep (d / 2) Hsep) as [t [_ Ht]]; [lra|].
    specialize (Ht t (Rle_refl t)). specialize (Hval (fun k => t * sep k)).
    specialize (Hl (fun _ => 0)). simpl in Hl. rewrite dot_0, log_loss_0 in Hl.
    specialize (H theta ltac:(lra)). simpl in H. lra.
  Qed.
End C03_logistic.

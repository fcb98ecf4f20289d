(* C09, stationary points: those of the explicit and of the implicit problem are the same.

   Stated, for gamma > 0, tau > 0 and N > 0, with E and I as in C09.v: (i) along every curve in
   Theta along which the losses have derivatives, t -> I(theta(t)) has the derivative that
   t -> E(theta(t), w) has for w fixed at softmax(-l(theta)/tau). (ii) For w > 0 the derivative of E
   in w along the simplex is zero in every direction exactly when w = softmax(-l(theta)/tau).
   (iii) So (theta, w), w > 0, is a stationary point of E exactly when theta is one of I and
   w = softmax(-l(theta)/tau).

   "Stationary" in theta is: the derivative is 0 along every curve of a given family, such as the
   lines through theta in R^p. In w it is: the derivative is 0 on the way to every u in the simplex;
   w > 0 is what a softmax of finite logits gives.

   An instance is in C09_instances.v.

   Not stated: w with zero weights; that the logits have the same stationary points. *)

From BDTheory Require Import Base Useful C08 C09 Derivatives.

Section Stationary.
  Context {P : Problem} (gamma tau : R).
  Hypotheses (Hgamma : 0 < gamma) (Htau : 0 < tau) (HN : (0 < N)%nat).

  (* Along the curve c the losses have the derivatives D_i, and L_val the derivative D_val. *)
  Definition smooth_along (c : R -> Theta) (D : nat -> R) (D_val : R) : Prop :=
    (forall i, (i < N)%nat -> derivable_pt_lim (fun t => l i (c t)) 0 (D i)) /\
    derivable_pt_lim (fun t => L_val (c t)) 0 D_val.

  Lemma derivative_E : forall w c D D_val, smooth_along c D D_val ->
    derivable_pt_lim (fun t => explicit gamma tau w (c t)) 0
      (D_val + gamma * sum N (fun i => w i * D i)).
  Proof.
    intros w c D D_val [Hl Hval].
    assert (HF : derivable_pt_lim (fun t => F w (c t)) 0 (sum N (fun i => w i * D i))).
    { apply derivative_sum. intros i Hi. apply (derivable_pt_lim_scal (fun t => l i (c t))).
      now apply Hl. }
    assert (Hsum := derivable_pt_lim_plus _ _ 0 _ _ HF
                      (derivable_pt_lim_const (tau * KL N w uniform) 0)).
    apply derivative_ext with (3 := derivable_pt_lim_plus _ _ 0 _ _ Hval
                                      (derivable_pt_lim_scal _ gamma 0 _ Hsum)); [reflexivity|ring].
  Qed.

  (* (i) tau > 0: the derivative of I along a curve is that of E with w fixed at
     softmax(-l(theta)/tau). *)
  Theorem C09_derivative : forall c D D_val, smooth_along c D D_val ->
    let slope := D_val + gamma * sum N (fun i => softmax tau (c 0) i * D i) in
    derivable_pt_lim (fun t => implicit gamma tau (c t)) 0 slope /\
    derivable_pt_lim (fun t => explicit gamma tau (softmax tau (c 0)) (c t)) 0 slope.
  Proof.
    intros c D D_val Hc slope. split; [|now apply derivative_E]. destruct Hc as [Hl Hval].
    assert (HZ : derivable_pt_lim (fun t => Z tau (c t)) 0
                   (sum N (fun i => exp (- l i (c 0) / tau) * (- / tau * D i)))).
    { apply derivative_sum. intros i Hi.
      apply (derivable_pt_lim_comp (fun t => - l i (c t) / tau) exp);
        [|apply derivable_pt_lim_exp].
      apply derivative_ext with (3 := derivable_pt_lim_scal _ (- / tau) 0 _ (Hl i Hi));
        [|reflexivity]. intros t. unfold mult_real_fct. field. lra. }
    assert (Hpos := Z_pos tau (c 0) HN).
    assert (Hln := derivable_pt_lim_comp _ ln 0 _ _ HZ (derivable_pt_lim_ln _ Hpos)).
    assert (Hsmin := derivable_pt_lim_minus _ _ 0 _ _
              (derivable_pt_lim_const (tau * ln (INR N)) 0) (derivable_pt_lim_scal _ tau 0 _ Hln)).
    apply derivative_ext with (3 := derivable_pt_lim_plus _ _ 0 _ _ Hval
                                      (derivable_pt_lim_scal _ gamma 0 _ Hsmin)).
    - intros t. unfold implicit. rewrite (smin_ln tau (c t) HN). reflexivity.
    - unfold slope. f_equal. f_equal.
      rewrite (sum_ext N (fun i => softmax tau (c 0) i * D i) (fun i => / Z tau (c 0) * - tau *
        (exp (- l i (c 0) / tau) * (- / tau * D i)))).
      + rewrite sum_scal. ring.
      + intros i _. unfold softmax. field. lra.
  Qed.

  (* The derivative of E on the way from w to u. *)
  Definition slope_w (w u : nat -> R) (theta : Theta) : R :=
    gamma * sum N (fun i => (u i - w i) * (l i theta + tau * (ln (w i / uniform i) + 1))).

  Lemma derivative_w : forall w u theta, (forall i, (i < N)%nat -> 0 < w i) ->
    derivable_pt_lim (fun t => explicit gamma tau (fun i => w i + t * (u i - w i)) theta) 0
      (slope_w w u theta).
  Proof.
    intros w u theta Hw.
    assert (Hu : 0 < / INR N) by now apply Rinv_0_lt_compat, INR_N.
    assert (HKL := derivative_sum N _ _ 0 (fun i Hi =>
                     derivative_entropy (w i) (u i - w i) (uniform i) (Hw i Hi) Hu)).
    assert (HF : derivable_pt_lim (fun t => F (fun i => w i + t * (u i - w i)) theta) 0
                   (sum N (fun i => (u i - w i) * l i theta))).
    { apply derivative_sum. intros i _.
      apply derivative_ext with (3 := derivative_line (w i * l i theta) ((u i - w i) * l i theta));
        [intros t; ring|reflexivity]. }
    assert (Hsum := derivable_pt_lim_plus _ _ 0 _ _ HF (derivable_pt_lim_scal _ tau 0 _ HKL)).
    apply derivative_ext with (3 := derivable_pt_lim_plus _ _ 0 _ _
      (derivable_pt_lim_const (L_val theta) 0) (derivable_pt_lim_scal _ gamma 0 _ Hsum)).
    - reflexivity.
    - unfold slope_w. rewrite Rplus_0_l, <- sum_scal, <- sum_plus. f_equal.
      apply sum_ext. intros; ring.
  Qed.

  (* (ii) gamma, tau > 0: for w > 0 the derivatives of E in w along the simplex are all zero exactly
     when w = softmax(-l(theta)/tau). *)
  Theorem C09_stationary_w : forall w theta, simplex w -> (forall i, (i < N)%nat -> 0 < w i) ->
    ((forall u, simplex u -> derivable_pt_lim
        (fun t => explicit gamma tau (fun i => w i + t * (u i - w i)) theta) 0 0) <->
     forall i, (i < N)%nat -> w i = softmax tau theta i).
  Proof.
    intros w theta Hw Hpos. set (s := softmax tau theta).
    assert (Hs : simplex s) by now apply softmax_simplex.
    assert (Hspos : forall i, 0 < s i) by (intros i; now apply softmax_pos).
    assert (Hslope : forall u, simplex u -> slope_w w u theta
                       = gamma * tau * sum N (fun i => (u i - w i) * ln (w i / s i))).
    { intros u Hu. unfold slope_w. rewrite Rmult_assoc. f_equal. rewrite <- sum_scal.
      set (k := tau * (ln (INR N) - ln (Z tau theta) + 1)).
      rewrite (sum_ext N _ (fun i => tau * ((u i - w i) * ln (w i / s i))
                                     + (u i * k + -1 * (w i * k)))).
      - rewrite !sum_plus, (sum_scal N (-1)), !mean_const by assumption. ring.
      - intros i Hi. unfold s, k. rewrite (ln_over_softmax tau theta Htau HN _ _ (Hpos i Hi)).
        unfold uniform, Rdiv.
        rewrite Rinv_inv, ln_mult by (exact (Hpos i Hi) || exact (INR_N HN)). field. lra. }
    split.
    - intros H. apply C08_gibbs_equal; try assumption; [intros; apply Hspos|].
      assert (H0 : slope_w w s theta = 0).
      { apply (uniqueness_limite
          (fun t => explicit gamma tau (fun i => w i + t * (s i - w i)) theta) 0);
          [now apply derivative_w|now apply H]. }
      rewrite (Hslope s Hs) in H0.
      assert (Hgt : 0 < gamma * tau) by now apply Rmult_lt_0_compat.
      apply Rmult_integral in H0. destruct H0 as [H0|H0]; [lra|].
      assert (Hback := C08_gibbs s w Hs Hw Hpos). unfold KL in *.
      rewrite (sum_ext N _ (fun i => -1 * (s i * ln (s i / w i)) + -1 * (w i * ln (w i / s i))))
        in H0; [rewrite sum_plus, !sum_scal in H0; lra|].
      intros i Hi. replace (w i / s i) with (/ (s i / w i))
        by (field; split; apply Rgt_not_eq; [apply Hspos|now apply Hpos]).
      rewrite ln_Rinv by (apply Rdiv_lt_0_compat; [apply Hspos|now apply Hpos]). ring.
    - intros H u Hu. replace 0 with (slope_w w u theta) at 2; [now apply derivative_w|].
      rewrite (Hslope u Hu), (sum_ext N _ (fun _ => 0)), sum_zero; [ring|]. intros i Hi.
      assert (Hsi := Hspos i). rewrite (H i Hi). fold s.
      unfold Rdiv. rewrite Rinv_r, ln_1 by lra. ring.
  Qed.

  (* A family of curves through each theta, along which all losses have derivatives. *)
  Variable curve : Theta -> (R -> Theta) -> Prop.
  Hypothesis curve_0 : forall theta c, curve theta c -> c 0 = theta.
  Hypothesis curve_smooth : forall theta c, curve theta c ->
    exists D D_val, smooth_along c D D_val.

  Definition explicit_stationary (w : nat -> R) (theta : Theta) : Prop :=
    (forall c, curve theta c -> derivable_pt_lim (fun t => explicit gamma tau w (c t)) 0 0) /\
    forall u, simplex u ->
      derivable_pt_lim (fun t => explicit gamma tau (fun i => w i + t * (u i - w i)) theta) 0 0.
  Definition implicit_stationary (theta : Theta) : Prop :=
    forall c, curve theta c -> derivable_pt_lim (fun t => implicit gamma tau (c t)) 0 0.

  (* (iii) gamma, tau > 0: (theta, w) with w > 0 is a stationary point of E exactly when
     theta is one of I and w = softmax(-l(theta)/tau). *)
  Theorem C09_stationary : forall w theta, simplex w -> (forall i, (i < N)%nat -> 0 < w i) ->
    (explicit_stationary w theta <->
     implicit_stationary theta /\ forall i, (i < N)%nat -> w i = softmax tau theta i).
  Proof.
    intros w theta Hw Hpos. unfold explicit_stationary.
    rewrite (C09_stationary_w w theta Hw Hpos).
    enough (Hiff : (forall i, (i < N)%nat -> w i = softmax tau theta i) -> forall c,
      curve theta c -> (derivable_pt_lim (fun t => explicit gamma tau w (c t)) 0 0 <->
                        derivable_pt_lim (fun t => implicit gamma tau (c t)) 0 0)).
    { split; intros [H Hsoft]; (split; [|exact Hsoft]); intros c Hc;
        now apply (Hiff Hsoft c Hc), H. }
    intros Hsoft c Hc. destruct (curve_smooth theta c Hc) as [D [D_val Hsmooth]].
    assert (HE := derivative_E w c D D_val Hsmooth).
    destruct (C09_derivative c D D_val Hsmooth) as [HI _].
    rewrite (curve_0 theta c Hc) in HI.
    rewrite (sum_ext N _ (fun i => softmax tau theta i * D i)) in HE
      by (intros i Hi; now rewrite (Hsoft i Hi)).
    split; intros H.
    - now rewrite <- (uniqueness_limite _ _ _ _ H HE) in HI.
    - now rewrite <- (uniqueness_limite _ _ _ _ H HI) in HE.
  Qed.
End Stationary.

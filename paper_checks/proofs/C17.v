(* C17, one penalty for both problems: penalised BDS is penalised BMO.

   Penalised BDS minimises P_gamma(theta, w) = L_val(theta) + gamma (F_w(theta) - v(w)) over theta
   and w in the simplex, penalised BMO minimises L_val(theta) + gamma G(theta) over theta. Stated,
   for gamma > 0: (i) for every theta, min over w of P_gamma(theta, w) = L_val(theta) +
   gamma G(theta), for convex l_i in R^p; first without naming v or G, which may be infinite then,
   and with both named. The minimum over w is attained. That no w goes below needs no assumption.
   (ii) The two problems have the same values, attained or not, and the same minimisers theta; the
   w that belong to such a theta are those with F_w(theta) - v(w) = G(theta).

   Of A5 only the convexity of the l_i is used. The control, two wells, and squares that meet the
   hypotheses are in C17_instances.v.

   Not stated: anything about L_val at the minimisers, or about gamma -> infinity. *)

From BDTheory Require Import Base C01 C01_converse C06.

Section Penalties.
  Context {P : Problem}.

  (* P_gamma(theta, w) <= r, without naming v(w), and L_val(theta) + gamma G(theta) <= r. *)
  Definition P_le (gamma : R) (w : nat -> R) (theta : Theta) (r : R) : Prop :=
    forall theta', L_val theta + gamma * (F w theta - F w theta') <= r.
  Definition Q_le (gamma : R) (theta : Theta) (r : R) : Prop :=
    forall theta', exists i, (i < N)%nat /\ L_val theta + gamma * (l i theta - l i theta') <= r.

  (* gap is G, the supremum over theta' of min_i (l_i(theta) - l_i(theta')). *)
  Definition gap_function (gap : Theta -> R) : Prop := forall theta, is_lub
    (fun r => exists theta', forall i, (i < N)%nat -> r <= l i theta - l i theta') (gap theta).
  Definition Q_gamma (gap : Theta -> R) (gamma : R) (theta : Theta) : R :=
    L_val theta + gamma * gap theta.

  Lemma gap_le : forall gap theta g, gap_function gap -> (G_le theta g <-> gap theta <= g).
  Proof.
    intros gap theta g Hgap. destruct (Hgap theta) as [Hup Hleast]. rewrite G_le_sup. split.
    - apply Hleast.
    - intros H r Hr. specialize (Hup r Hr). lra.
  Qed.

  Lemma penalty_near : forall v w theta g, value_function v -> simplex w ->
    (near (F w) g theta <-> F w theta - v w <= g).
  Proof.
    intros v w theta g Hv Hw. destruct (Hv w Hw) as [Hlow Hbest]. split.
    - intros H. enough (F w theta - g <= v w) by lra. apply Hbest. intros r [theta' ->].
      specialize (H theta'). lra.
    - intros H theta'. assert (v w <= F w theta') by (apply Hlow; now exists theta'). lra.
  Qed.

  (* Where v is finite so is G. *)
  Lemma gap_function_exists : forall v, (0 < N)%nat -> value_function v ->
    exists gap, gap_function gap.
  Proof.
    intros v HN Hv.
    pose (E := fun theta r => exists theta', forall i, (i < N)%nat -> r <= l i theta - l i theta').
    assert (Hbound : forall theta, bound (E theta)).
    { intros theta. exists (F (e 0) theta - v (e 0)). apply G_le_sup, C01_gap_inf.
      - now apply e_simplex.
      - now apply Hv, e_simplex. }
    assert (Hsome : forall theta, exists r, E theta r).
    { intros theta. exists 0, theta. intros; lra. }
    exists (fun theta => proj1_sig (completeness (E theta) (Hbound theta) (Hsome theta))).
    intros theta. exact (proj2_sig (completeness (E theta) (Hbound theta) (Hsome theta))).
  Qed.

  (* Both bound a gap: P_gamma <= r says that F_w(theta) - v(w) <= (r - L_val(theta)) / gamma. *)
  Lemma P_le_near : forall gamma w theta r, 0 < gamma ->
    (P_le gamma w theta r <-> near (F w) ((r - L_val theta) / gamma) theta).
  Proof.
    intros gamma w theta r Hg.
    assert (Hr : gamma * ((r - L_val theta) / gamma) = r - L_val theta) by (field; lra).
    split; intros H theta'; specialize (H theta').
    - apply Rmult_le_reg_l with gamma; [exact Hg|]. lra.
    - apply Rmult_le_compat_l with (r := gamma) in H; lra.
  Qed.

  Lemma Q_le_gap : forall gamma theta r, 0 < gamma ->
    (Q_le gamma theta r <-> G_le theta ((r - L_val theta) / gamma)).
  Proof.
    intros gamma theta r Hg.
    assert (Hr : gamma * ((r - L_val theta) / gamma) = r - L_val theta) by (field; lra).
    split; intros H theta'; destruct (H theta') as [i [Hi Hle]]; exists i; (split; [exact Hi|]).
    - apply Rmult_le_reg_l with gamma; [exact Hg|]. lra.
    - apply Rmult_le_compat_l with (r := gamma) in Hle; lra.
  Qed.

  (* (i) No assumption on the losses: L_val(theta) + gamma G(theta) <= P_gamma(theta, w) for every w
     in the simplex. *)
  Theorem C17_below : forall gamma w theta r, 0 < gamma -> simplex w ->
    P_le gamma w theta r -> Q_le gamma theta r.
  Proof.
    intros gamma w theta r Hg Hw H. apply Q_le_gap; [exact Hg|].
    apply C01_gap with w; [exact Hw|]. now apply P_le_near.
  Qed.
End Penalties.

Section C17.
  Variables (p n : nat) (loss : nat -> (nat -> R) -> R) (val : (nat -> R) -> R).
  #[local] Hint Extern 0 Problem => exact (vectors n loss val) : typeclass_instances.

  (* (i) Convex l_i in R^p: L_val(theta) + gamma G(theta) <= r exactly when some w in the simplex
     has P_gamma(theta, w) <= r. Neither v nor G is named, nothing need be attained or finite. *)
  Theorem C17_identity : forall gamma theta r, (forall i, (i < n)%nat -> convex (loss i)) ->
    0 < gamma -> (Q_le gamma theta r <-> exists w, simplex w /\ P_le gamma w theta r).
  Proof.
    intros gamma theta r Hconvex Hg.
    split; [|intros [w [Hw H]]; now apply C17_below with w].
    intros H. apply Q_le_gap, C01_identity in H; [|exact Hconvex|exact Hg].
    destruct H as [w [Hw H]]. exists w. split; [exact Hw|]. now apply P_le_near.
  Qed.

  Variables (v : (nat -> R) -> R) (gap : Theta -> R) (gamma : R).

  (* v and G are what they are called; both are finite then. *)
  Definition named : Prop := value_function v /\ gap_function gap.

  (* (i) A5, with v and G named: min over w of P_gamma(theta, w) is L_val(theta) +
     gamma G(theta), and some w in the simplex attains it. *)
  Theorem C17_minimum : forall theta, A5 p n loss val -> named -> 0 < gamma ->
    (forall w, simplex w -> Q_gamma gap gamma theta <= P_gamma v gamma w theta) /\
    exists w, simplex w /\ P_gamma v gamma w theta = Q_gamma gap gamma theta.
  Proof.
    intros theta [HA5 _] [Hv Hgap] Hgamma. unfold Q_gamma, P_gamma.
    assert (Hconvex : forall i, (i < n)%nat -> convex (loss i)) by (intros i Hi; now apply HA5).
    assert (Hbelow : forall w, simplex w -> gap theta <= F w theta - v w).
    { intros w Hw. apply (gap_le gap theta _ Hgap). now apply C01_gap_inf, Hv. }
    split.
    - intros w Hw. apply Rplus_le_compat_l, Rmult_le_compat_l; [lra|now apply Hbelow].
    - destruct (proj1 (C01_identity n loss val theta (gap theta) Hconvex)) as [w [Hw H]];
        [apply (gap_le gap theta _ Hgap); lra|].
      exists w. split; [exact Hw|]. apply (penalty_near v w theta _ Hv Hw) in H.
      specialize (Hbelow w Hw). f_equal. f_equal. lra.
  Qed.

  (* (ii) A5, the same values: the infimum of P_gamma over theta and w is the infimum of
     L_val + gamma G, attained or not. *)
  Theorem C17_values : forall V, A5 p n loss val -> named -> 0 < gamma ->
    (is_inf (fun r => exists w theta, simplex w /\ r = P_gamma v gamma w theta) V <->
     is_inf (fun r => exists theta, r = Q_gamma gap gamma theta) V).
  Proof.
    intros V HA5 Hnamed Hgamma. assert (Hmin := fun theta => C17_minimum theta HA5 Hnamed Hgamma).
    assert (Hbounds : forall b,
      (forall r, (exists w theta, simplex w /\ r = P_gamma v gamma w theta) -> b <= r) <->
      (forall r, (exists theta, r = Q_gamma gap gamma theta) -> b <= r)).
    { intros b. split; intros H r.
      - intros [theta ->]. destruct (Hmin theta) as [_ [w [Hw <-]]]. apply H.
        now exists w, theta.
      - intros [w [theta [Hw ->]]]. apply Rle_trans with (Q_gamma gap gamma theta).
        + apply H. now exists theta.
        + now apply Hmin. }
    split; intros [Hlow Hbest];
      (split; [apply Hbounds, Hlow|intros b Hb; apply Hbest, Hbounds, Hb]).
  Qed.

  (* (theta, w) minimises P_gamma over all models and all weights in the simplex. *)
  Definition P_minimal (w : nat -> R) (theta : Theta) : Prop := simplex w /\
    forall w' theta', simplex w' -> P_gamma v gamma w theta <= P_gamma v gamma w' theta'.

  (* (ii) A5, the same minimisers: (theta, w) is one of P_gamma exactly when theta is one of
     L_val + gamma G and w attains the gap, F_w(theta) - v(w) = G(theta). *)
  Theorem C17_pairs : forall w theta, A5 p n loss val -> named -> 0 < gamma ->
    simplex w -> (P_minimal w theta <->
     minimiser (Q_gamma gap gamma) theta /\ F w theta - v w = gap theta).
  Proof.
    intros w theta HA5 Hnamed Hgamma Hw.
    assert (Hall := fun theta => C17_minimum theta HA5 Hnamed Hgamma).
    destruct (Hall theta) as [Hbelow [w0 [Hw0 H0]]]. split.
    - intros [_ Hmin].
      assert (Heq : P_gamma v gamma w theta = Q_gamma gap gamma theta).
      { apply Rle_antisym; [rewrite <- H0; now apply Hmin|now apply Hbelow]. }
      split.
      + intros theta'. destruct (Hall theta') as [_ [w' [Hw' <-]]].
        rewrite <- Heq. now apply Hmin.
      + unfold P_gamma, Q_gamma in Heq. apply Rmult_eq_reg_l with gamma; lra.
    - intros [Hmin Heq]. split; [exact Hw|]. intros w' theta' Hw'.
      replace (P_gamma v gamma w theta) with (Q_gamma gap gamma theta)
        by (unfold P_gamma, Q_gamma; now rewrite Heq).
      apply Rle_trans with (1 := Hmin theta'). now apply Hall.
  Qed.

  (* (ii) A5, the same minimisers: theta is one of L_val + gamma G exactly when (theta, w) is one of
     P_gamma for some w in the simplex. *)
  Theorem C17_models : forall theta, A5 p n loss val -> named -> 0 < gamma ->
    (minimiser (Q_gamma gap gamma) theta <-> exists w, P_minimal w theta).
  Proof.
    intros theta HA5 Hnamed Hgamma. split.
    - intros Hmin. destruct (C17_minimum theta HA5 Hnamed Hgamma) as [_ [w [Hw Heq]]]. exists w.
      apply C17_pairs; try assumption. split; [exact Hmin|].
      unfold P_gamma, Q_gamma in Heq. apply Rmult_eq_reg_l with gamma; lra.
    - intros [w Hmin]. now apply (C17_pairs w theta HA5 Hnamed Hgamma (proj1 Hmin)).
  Qed.
End C17.

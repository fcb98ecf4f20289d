(* C16, few samples suffice: p + 1 under A5.

   Models are vectors of R^p, l_i convex and differentiable. Stated: (i) theta is in S(w) exactly
   when sum_i w_i grad l_i(theta) = 0. (ii) theta in S(w), for a w in the simplex, is in S(w') for a
   w' in the simplex with at most p + 1 non-zero weights, all of them among those of w. (iii) So BDS
   has the same models, optimal or not, and the same value when only such w' are allowed.

   Why: by (i), 0 is in the hull of vectors of R^p, and Caratheodory's theorem applies. L_val plays
   no part. Controls, and that p + 1 cannot be lowered, are in C16_instances.v.

   Not stated: infima that are not attained; convex losses without gradients. *)

From Coq Require Import List.
From BDTheory Require Import Base C01 C02 Vectors C01_converse Caratheodory.

(* Gradients ------------------------------------------------------------------------------------ *)

(* The gradient of a weighted sum. *)
Lemma gradient_sum : forall p n w (f : nat -> (nat -> R) -> R) theta g,
  (forall i, (i < n)%nat -> gradient p (f i) theta (g i)) ->
  gradient p (fun s => sum n (fun i => w i * f i s)) theta (fun k => sum n (fun i => w i * g i k)).
Proof.
  intros p n w f theta g. induction n as [|n IH]; intros H d eps Heps.
  - exists 1. split; [lra|]. intros t Ht _. simpl.
    replace ((0 - 0) / t - dot p (fun _ => 0) d) with 0; [rewrite Rabs_R0; exact Heps|].
    unfold dot. rewrite (sum_ext p _ (fun _ => 0)), sum_zero by (intros; ring). field. exact Ht.
  - assert (Hw := Rabs_pos (w n)). set (eta := eps / (2 * (Rabs (w n) + 1))).
    assert (Heta : eta * (2 * (Rabs (w n) + 1)) = eps) by (unfold eta; field; lra).
    assert (Hpos : 0 < eta) by (apply Rdiv_lt_0_compat; lra).
    destruct (IH (fun i Hi => H i ltac:(lia)) d (eps / 2) ltac:(lra)) as [r [Hr Hsum]].
    destruct (H n ltac:(lia) d eta Hpos) as [s [Hs Hn]].
    exists (Rmin r s). split; [now apply Rmin_pos|]. intros t Ht Hlt.
    assert (Hl := Rmin_l r s). assert (Hm := Rmin_r r s).
    specialize (Hsum t Ht ltac:(lra)). specialize (Hn t Ht ltac:(lra)). simpl.
    set (a := sum n (fun i => w i * f i (step theta t d))) in *.
    set (b := sum n (fun i => w i * f i theta)) in *.
    set (q := (f n (step theta t d) - f n theta) / t - dot p (g n) d) in *.
    replace (dot p (fun k => sum n (fun i => w i * g i k) + w n * g n k) d)
      with (dot p (fun k => sum n (fun i => w i * g i k)) d + w n * dot p (g n) d)
      by (unfold dot; rewrite <- sum_scal, <- sum_plus; apply sum_ext; intros; ring).
    set (D := dot p (fun k => sum n (fun i => w i * g i k)) d) in *.
    replace ((a + w n * f n (step theta t d) - (b + w n * f n theta)) / t
             - (D + w n * dot p (g n) d)) with ((a - b) / t - D + w n * q)
      by (unfold q; field; exact Ht).
    apply Rle_lt_trans with (1 := Rabs_triang _ _). rewrite Rabs_mult.
    assert (Hq := Rabs_pos q). nra.
Qed.

(* At a minimum the gradient is 0. *)
Lemma gradient_zero : forall p f theta g, (forall theta', f theta <= f theta') ->
  gradient p f theta g -> forall k, (k < p)%nat -> g k = 0.
Proof.
  intros p f theta g Hmin Hf k Hk.
  assert (Hsq : dot p g g <= 0).
  { apply Rnot_lt_le. intros Hpos. destruct (Hf g (dot p g g) Hpos) as [r [Hr Hlim]].
    specialize (Hlim (- (r / 2)) ltac:(lra)). rewrite Rabs_Ropp, Rabs_right in Hlim by lra.
    specialize (Hlim ltac:(lra)). apply Rabs_def2 in Hlim. destruct Hlim as [_ Hlim].
    assert (H := Hmin (step theta (- (r / 2)) g)).
    set (q := (f (step theta (- (r / 2)) g) - f theta) / - (r / 2)) in *.
    assert (Hq : q * - (r / 2) = f (step theta (- (r / 2)) g) - f theta)
      by (unfold q; field; lra). nra. }
  assert (Hterm := sum_term p (fun k => g k * g k) k
    ltac:(intros j _; simpl; apply Rle_0_sqr) Hk). unfold dot in Hsq. simpl in Hterm. nra.
Qed.

(* A convex function lies above its tangent. *)
Lemma tangent_below : forall p f theta g theta', convex f -> gradient p f theta g ->
  f theta + dot p g (fun k => theta' k - theta k) <= f theta'.
Proof.
  intros p f theta g theta' Hconvex Hf. set (d := fun k => theta' k - theta k).
  apply le_epsilon. intros eps Heps. destruct (Hf d eps Heps) as [r [Hr Hlim]].
  set (t := Rmin 1 (r / 2)).
  assert (Hl := Rmin_l 1 (r / 2)). assert (Hm := Rmin_r 1 (r / 2)). fold t in Hl, Hm.
  assert (Ht : 0 < t) by (apply Rmin_pos; lra).
  specialize (Hlim t ltac:(lra)). rewrite Rabs_right in Hlim by lra.
  specialize (Hlim ltac:(lra)). apply Rabs_def2 in Hlim. destruct Hlim as [_ Hlim].
  assert (H := Hconvex theta theta' t Logic.I Logic.I ltac:(lra)). unfold segment in H. fold d in H.
  set (q := (f (step theta t d) - f theta) / t) in *.
  assert (Hq : q * t = f (step theta t d) - f theta) by (unfold q; field; lra). nra.
Qed.

(* At most m weights are non-zero: the support is part of a list of m samples. *)
Definition at_most {P : Problem} (m : nat) (w : nat -> R) : Prop :=
  exists J : list nat, (length J <= m)%nat /\ forall i, support w i -> In i J.

(* BDS with at most m non-zero weights. *)
Definition few_models {P : Problem} (m : nat) (theta : Theta) : Prop :=
  exists w, simplex w /\ at_most m w /\ S_w w theta.

Section C16.
  Variables (p n : nat) (loss : nat -> (nat -> R) -> R) (val : (nat -> R) -> R).
  #[local] Hint Extern 0 Problem => exact (vectors n loss val) : typeclass_instances.

  (* (i) For convex l_i with the gradients g_i at theta, theta is in S(w) exactly when
     sum_i w_i g_i = 0. *)
  Theorem C16_stationary : forall w theta g, (forall i, (i < n)%nat -> convex (loss i)) ->
    (forall i, (i < n)%nat -> gradient p (loss i) theta (g i)) -> simplex w ->
    (S_w w theta <-> forall k, (k < p)%nat -> sum n (fun i => w i * g i k) = 0).
  Proof.
    intros w theta g Hconvex Hg [Hw Hsum]. split.
    - intros HS. apply (gradient_zero p (fun s => sum n (fun i => w i * loss i s)) theta);
        [exact HS|now apply gradient_sum].
    - intros Hzero theta'. set (d := fun k => theta' k - theta k).
      assert (Hd : sum n (fun i => w i * dot p (g i) d) = 0).
      { unfold dot. rewrite (sum_ext n _ (fun i => sum p (fun k => w i * (g i k * d k))))
          by (intros; now rewrite sum_scal).
        rewrite sum_swap, (sum_ext p _ (fun _ => 0)), sum_zero; [reflexivity|]. intros k Hk.
        rewrite (sum_ext n _ (fun i => d k * (w i * g i k))) by (intros; ring).
        rewrite sum_scal, (Hzero k Hk). ring. }
      change (sum n (fun i => w i * loss i theta) <= sum n (fun i => w i * loss i theta')).
      rewrite <- (Rplus_0_r (sum n (fun i => w i * loss i theta))), <- Hd, <- sum_plus.
      apply sum_le. intros i Hi. rewrite <- Rmult_plus_distr_l.
      apply Rmult_le_compat_l; [now apply Hw|].
      apply tangent_below; [now apply Hconvex|now apply Hg].
  Qed.

  (* Gradients of n functions, as one family. *)
  Lemma gradients : forall theta m, (forall i, (i < m)%nat -> differentiable p (loss i)) ->
    exists g, forall i, (i < m)%nat -> gradient p (loss i) theta (g i).
  Proof.
    intros theta m. induction m as [|m IH]; intros H; [exists (fun _ _ => 0); lia|].
    destruct IH as [g Hg]; [auto with arith|]. destruct (H m ltac:(lia) theta) as [gm Hgm].
    exists (fun i => if Nat.eqb i m then gm else g i). intros i Hi.
    destruct (Nat.eqb_spec i m) as [->|Hne]; [exact Hgm|apply Hg; lia].
  Qed.

  (* (ii) A5: theta in S(w) is in S(w') for a w' with at most p + 1 non-zero weights, which are
     among those of w. *)
  Theorem C16_few_samples : forall w theta, A5 p n loss val -> simplex w -> S_w w theta ->
    exists w', simplex w' /\ S_w w' theta /\ at_most (p + 1) w' /\
      forall i, support w' i -> support w i.
  Proof.
    intros w theta [HA5 _] Hw HS.
    destruct (gradients theta n) as [g Hg]; [intros i Hi; now apply HA5|].
    assert (Hiff := fun w => C16_stationary w theta g (fun i Hi => proj1 (HA5 i Hi)) Hg).
    set (J := filter (fun i => is_pos (w i)) (seq 0 n)).
    assert (HJ : forall i, In i J <-> support w i).
    { intros i. unfold J, support. rewrite filter_In, in_seq, is_pos_spec. simpl.
      split; intros [Hi Hpos]; (split; [lia|exact Hpos]). }
    assert (Hbal : balanced p n g J w).
    { split; [apply NoDup_filter, seq_NoDup|split; [intros j Hj; apply HJ in Hj; apply Hj|]].
      split; [apply Hw|split; [|split; [apply Hw|now apply Hiff]]]. intros i Hi Hout.
      destruct (proj1 Hw i Hi) as [Hpos|Heq]; [|now symmetry].
      exfalso. apply Hout, HJ. now split. }
    destruct (caratheodory p n g _ J w eq_refl Hbal)
      as [J' [w' [Hincl [Hlen [_ [_ [Hw' [Hoff [Hsum Hzero]]]]]]]]].
    assert (Hin : forall i, support w' i -> In i J').
    { intros i [Hi Hpos]. destruct (in_dec Nat.eq_dec i J') as [Hi'|Hi']; [exact Hi'|].
      rewrite (Hoff i Hi Hi') in Hpos. lra. }
    assert (Hsimplex : simplex w') by now split.
    exists w'. split; [exact Hsimplex|split; [now apply Hiff|split]].
    - now exists J'.
    - intros i Hi. apply HJ, Hincl, Hin, Hi.
  Qed.

  (* (iii) A5: with at most p + 1 non-zero weights allowed, BDS has the same models. *)
  Theorem C16_few_models : forall theta, A5 p n loss val ->
    (BDS_models theta <-> few_models (p + 1) theta).
  Proof.
    intros theta HA5. split; [|intros [w [Hw [_ HS]]]; now exists w].
    intros [w [Hw HS]]. destruct (C16_few_samples w theta HA5 Hw HS) as [w' [Hw' [HS' [Hfew _]]]].
    now exists w'.
  Qed.

  (* (iii) A5: with at most p + 1 non-zero weights allowed, V_BDS is the same, attained or not. *)
  Theorem C16_few_value : forall V, A5 p n loss val ->
    (V_BDS V <-> value_on (few_models (p + 1)) V).
  Proof.
    intros V HA5. apply is_inf_bounds. intros b.
    split; intros H r [theta [Hin ->]]; apply H; exists theta; (split; [|reflexivity]);
      now apply C16_few_models.
  Qed.
End C16.

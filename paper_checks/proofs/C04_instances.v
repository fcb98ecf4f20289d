(* C04(a), instances: what its assumptions ask for can hold together, and what happens without A5.

   Stated, all on the plane, theta = (a, b), with two samples: (i) one_useful has A2 to A5
   and a theta_lam at every lam > 0, with gap lam^2 / (2 (2 + lam)^2). (ii) Samples that are useful
   one by one and not together have the gap lam^2 / (2 (1 + lam)^2) > 0. (iii) L_val = |a|, which is
   not differentiable, leaves A2, A3, A4 and has gap 0 for every lam <= 2. (iv) A2 kept, A3 dropped:
   direct mixing at lam = 1/2 is below V_BDS.

   Not stated: instances in higher dimensions, or with losses other than these. *)

From BDTheory Require Import Base C02 Useful C04.

(* The goal x <= y, where y - x is the sum of squares e: 0 <= e is left. *)
Ltac gap_is e :=
  apply Rminus_le; apply Ropp_le_cancel; rewrite Ropp_0;
  match goal with |- 0 <= ?x => replace x with e by (field; lra) end.

#[export] Instance plane_lines Lv l_0 l_1 : Lines (two_rows Lv l_0 l_1).
Proof.
  exists (fun a b t => (fst a + t * (fst b - fst a), snd a + t * (snd b - snd a))).
  intros [a1 a2] b. simpl. f_equal; lra.
Defined.

(* (1 - t) u^2 + t v^2 - ((1 - t) u + t v)^2 = t (1 - t) (u - v)^2. *)
Lemma sq_convex : forall Lv l_0 l_1 p q r, convex (P := two_rows Lv l_0 l_1) (sq p q r).
Proof.
  intros Lv l_0 l_1 p q r [a1 a2] [b1 b2] t Ht. unfold sq; simpl.
  assert (H : 0 <= t * (1 - t)) by (apply Rmult_le_pos; lra).
  assert (Hsq := pow2_ge_0 (p * (b1 - a1) + q * (b2 - a2))).
  assert (Hprod := Rmult_le_pos _ _ H Hsq). simpl in Hprod. lra.
Qed.

(* Along a line it is (u + t v)^2 / 2, with derivative u v at 0. *)
Lemma sq_differentiable : forall Lv l_0 l_1 p q r,
  differentiable (P := two_rows Lv l_0 l_1) (sq p q r).
Proof.
  intros Lv l_0 l_1 p q r [a1 a2] [b1 b2].
  set (u := p * a1 + q * a2 - r). set (v := p * (b1 - a1) + q * (b2 - a2)).
  exists (u * v). intros eps Heps.
  assert (Hv := pow2_ge_0 v).
  assert (Hdelta : 0 < eps / (v ^ 2 + 1)) by (apply Rdiv_lt_0_compat; lra).
  exists (mkposreal _ Hdelta). intros h Hh Hsmall. simpl in Hsmall |- *. unfold sq; simpl.
  replace (_ - u * v) with (v ^ 2 * h / 2) by (unfold u, v; field; exact Hh).
  apply Rmult_lt_compat_r with (r := v ^ 2 + 1) in Hsmall; [|simpl; lra].
  simpl in Hsmall. unfold Rdiv in Hsmall. 
  rewrite Rmult_assoc, Rinv_l in Hsmall by (simpl in Hv; lra).
  unfold Rdiv. rewrite !Rabs_mult, (Rabs_right (v ^ 2)), (Rabs_right (/ 2)) by (simpl in *; lra).
  assert (Ha := Rabs_pos h). simpl. nra.
Qed.

Lemma sq_A5 : forall p q r p0 q0 r0 p1 q1 r1,
  A5 (P := two_rows (sq p q r) (sq p0 q0 r0) (sq p1 q1 r1)).
Proof.
  intros. split; [|split; [apply sq_convex|apply sq_differentiable]].
  intros i Hi. destruct (two i Hi) as [->| ->]; (split; [apply sq_convex|apply sq_differentiable]).
Qed.

(* (i) L_val = a^2/2, l_0 = b^2/2, l_1 = (a - 1)^2/2, and theta_lam = (lam / (2 + lam), 0). *)
Example C04_one_useful : let P := one_useful in A2 /\ A3 /\ A4 /\ A5 /\ V_BDS 0 /\
  forall lam, 0 < lam ->
    let theta := (lam / (2 + lam), 0) in
    DM lam theta /\ L_val theta = lam ^ 2 / (2 * (2 + lam) ^ 2).
Proof.
  cbv zeta. destruct one_useful_assumptions as [_ [HA2 [HA3 [HA4 _]]]].
  split; [exact HA2|split; [exact HA3|split; [exact HA4|split; [apply sq_A5|split]]]].
  - replace 0 with (@L_val one_useful (0, 0)) by (simpl; unfold sq; simpl; lra).
    apply V_BDS_at; [exact HA3|]. fits.
  - intros lam Hlam. split; [|simpl; unfold sq; simpl; field; lra].
    intros [a b]. unfold mixed, F, uniform; simpl. unfold sq; simpl.
    gap_is ((2 + lam) / 4 * (a - lam / (2 + lam)) ^ 2 + lam / 4 * b ^ 2).
    apply Rplus_le_le_0_compat; (apply Rmult_le_pos; [lra|apply pow2_ge_0]).
Qed.

(* (ii) Useful one by one, not together: L_val = a^2/2, l_0 = (a + b - 1)^2/2 and
   l_1 = (a - b - 1)^2/2. No sample is useless, A4 does not hold, and yet the gap is
   lam^2 / (2 (1 + lam)^2) > 0. *)
Example C04_crossed : let P := two_rows (sq 1 0 0) (sq 1 1 1) (sq 1 (-1) 1) in
  A2 /\ A3 /\ A5 /\ (forall i, (i < N)%nat -> useful i) /\ ~ jointly_useful everything /\ V_BDS 0 /\
  forall lam, 0 < lam ->
    let theta := (lam / (1 + lam), 0) in
    DM lam theta /\ L_val theta = lam ^ 2 / (2 * (1 + lam) ^ 2).
Proof.
  cbv zeta. set (P := two_rows _ _ _).
  assert (Huse : forall i, (i < 2)%nat -> @useful P i).
  { intros i Hi. unfold P. destruct (two i Hi) as [->| ->]; [exists (0, 1)|exists (0, -1)];
      (split; fits). }
  assert (HA3 : @A3 P) by (exists 0%nat; split; [simpl; lia|apply Huse; lia]).
  split; [|split; [exact HA3|split; [apply sq_A5|split; [exact Huse|split; [|split]]]]].
  - exists (1, 0). intros i Hi. unfold P. destruct (two i Hi) as [->| ->]; fits.
  - intros [theta [Hv HS]].
    assert (H0 := HS 0%nat ltac:(unfold everything; simpl; lia)).
    assert (H1 := HS 1%nat ltac:(unfold everything; simpl; lia)).
    apply (sq_min_only _ _ _ _ (0, 0)) in Hv; [|simpl; lra].
    apply (sq_min_only _ _ _ _ (1, 0)) in H0; [|simpl; lra].
    apply (sq_min_only _ _ _ _ (1, 0)) in H1; [|simpl; lra]. lra.
  - replace 0 with (@L_val P (0, 0)) by (simpl; unfold sq; simpl; lra).
    apply V_BDS_at; [exact HA3|]. unfold P. fits.
  - intros lam Hlam. split; [|simpl; unfold sq; simpl; field; lra].
    intros [a b]. unfold mixed, F, uniform; simpl. unfold sq; simpl.
    gap_is ((1 + lam) / 2 * (a - lam / (1 + lam)) ^ 2 + lam / 2 * b ^ 2).
    apply Rplus_le_le_0_compat; (apply Rmult_le_pos; [lra|apply pow2_ge_0]).
Qed.

(* (iii) Control, A5 dropped: L_val = |a|, otherwise as in (i). A useless sample, and gap 0 for
   every lam <= 2: direct mixing attains V_BDS at (0, 0). *)
Example C04_absolute_value :
  let P := two_rows (fun theta => Rabs (fst theta)) (sq 0 1 0) (sq 1 0 1) in
  A2 /\ A3 /\ A4 /\ ~ differentiable L_val /\ V_BDS 0 /\
  forall lam, 0 < lam <= 2 -> DM lam (0, 0) /\ L_val (0, 0) = 0.
Proof.
  cbv zeta. set (P := two_rows _ _ _).
  assert (Hv : @S_val P (0, 0)) by (intros theta; simpl; rewrite Rabs_R0; apply Rabs_pos).
  assert (HA2 : @A2 P).
  { exists (1, 0). intros i Hi. unfold P. destruct (two i Hi) as [->| ->]; fits. }
  assert (HA3 : @A3 P).
  { exists 0%nat. split; [simpl; lia|]. exists (0, 0). split; [unfold P; fits|exact Hv]. }
  assert (HA4 : @A4 P).
  { exists 1%nat. split; [simpl; lia|]. intros [theta [HS HSval]].
    apply (sq_min_only _ _ _ _ (1, 0)) in HS; [|simpl; lra].
    specialize (HSval (0, 0)). simpl in HSval.
    rewrite Rabs_R0, Rabs_right in HSval; lra. }
  assert (HV : @V_BDS P 0).
  { replace 0 with (@L_val P (0, 0)) by (simpl; apply Rabs_R0). now apply V_BDS_at. }
  assert (HDM : forall lam, 0 < lam <= 2 -> @DM P lam (0, 0)).
  { intros lam Hlam [a b]. unfold mixed, F, uniform; simpl. unfold sq; simpl. rewrite Rabs_R0.
    assert (Ha := Rle_abs a). assert (Ha' := Rabs_pos a). assert (Hb := pow2_ge_0 b).
    assert (Haa := pow2_ge_0 a). simpl in *. nra. }
  split; [exact HA2|split; [exact HA3|split; [exact HA4|split; [|split; [exact HV|]]]]].
  - assert (Hconvex : forall i, (i < 2)%nat -> convex (@l P i)).
    { intros i Hi. unfold P. destruct (two i Hi) as [->| ->]; apply sq_convex. }
    (* otherwise C04_equal would make the whole set jointly useful *)
    intros Hd. destruct (proj1 (@C04_equal P _ 1 (0, 0) 0 HA2 HA3 (conj Hconvex Hd) HV Rlt_0_1
      (HDM 1 ltac:(lra))) ltac:(apply Rabs_R0)) as [theta [HS Hfit]].
    destruct HA4 as [i [Hi Hnot]]. apply Hnot. exists theta. split; [now apply Hfit|exact HS].
  - intros lam Hlam. split; [now apply HDM|]. simpl. apply Rabs_R0.
Qed.

(* (iv) Control, A3 dropped: L_val = a^2/2, both samples (a - 1)^2/2. V_BDS = 1/2, and every
   theta_lam at lam = 1/2 does better. *)
Example C04_nothing_useful : let P := two_rows (sq 1 0 0) (sq 1 0 1) (sq 1 0 1) in
  A1 /\ A2 /\ ~ A3 /\ V_BDS (1 / 2) /\ DM (1 / 2) (1 / 3, 0) /\
  forall theta, DM (1 / 2) theta -> L_val theta < 1 / 2.
Proof.
  cbv zeta. set (P := two_rows _ _ _).
  assert (HA1 : @A1 P).
  { intros i Hi. destruct (two i Hi) as [->| ->]; apply (sq_inf _ _ _ (1, 0)); simpl; lra. }
  assert (HA2 : @A2 P).
  { exists (1, 0). intros i Hi. unfold P. destruct (two i Hi) as [->| ->]; fits. }
  assert (Hone : forall i theta, (i < 2)%nat -> @S_i P i theta -> fst theta = 1).
  { intros i theta Hi HS. enough (1 * fst theta + 0 * snd theta = 1) by lra.
    destruct (two i Hi) as [->| ->]; now apply (sq_min_only _ _ _ _ (1, 0)); [simpl; lra|]. }
  split; [exact HA1|split; [exact HA2|split; [|split; [|split]]]].
  - intros [i [Hi [theta [HS Hv]]]]. apply (Hone i theta Hi) in HS.
    apply (sq_min_only _ _ _ _ (0, 0)) in Hv; simpl in *; lra.
  - split.
    + intros r [theta [[w [Hw HS]] ->]]. destruct (support_nonempty w Hw) as [i Hi].
      assert (H1 := Hone i theta (proj1 Hi) (proj1 (C02_S_w w theta HA2 Hw) HS i Hi)).
      simpl. unfold sq. rewrite H1. lra.
    + intros b Hb. apply Hb. exists (1, 0). split; [|simpl; unfold sq; simpl; lra].
      exists (e 0). split; [apply e_simplex; simpl; lia|]. 
      apply S_w_e; [simpl; lia|]. unfold P. fits.
  - intros [a b]. unfold mixed, F, uniform; simpl. unfold sq; simpl.
    assert (H := pow2_ge_0 (a - 1 / 3)). simpl in H. lra.
  - intros theta HDM. apply (C04_mixing_wins (1 / 2) theta (0, 0)); [exact HA1|lra|exact HDM|].
    unfold F, uniform; simpl. unfold sq; simpl. lra.
Qed.

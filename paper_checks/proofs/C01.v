(* C01, scalarisation: what is optimal for some weights is weakly Pareto.

   Stated: (i) theta in S(w) for some w in the simplex implies theta in WP, under no assumption at
   all. (ii) The gap form: G(theta) <= F_w(theta) - v(w). A theta within eps of the infimum of F_w
   has a Pareto gap of at most eps, so sequences with F_w -> v(w) have G -> 0: infima that are not
   attained are covered. (iii) Control: two wells without A5, where theta = 0 is in WP, and in no
   S(w), by a gap above 1/10 for every w.

   Elsewhere: the converse and the identity G(theta) = min_w [F_w(theta) - v(w)], both under A5, in
   C01_converse.v; weights that move, in C01_moving.v. *)

From BDTheory Require Import Base.

Section C01.
  Context {P : Problem}.

  (* G_le says what it should: g bounds the numbers r with r <= min_i (l_i(theta) - l_i(theta')). *)
  Lemma G_le_sup : forall theta g, G_le theta g <-> is_upper_bound
    (fun r => exists theta', forall i, (i < N)%nat -> r <= l i theta - l i theta') g.
  Proof.
    assert (Hroom : forall n g f, (forall i, (i < n)%nat -> g < f i) ->
      exists r, g < r /\ forall i, (i < n)%nat -> r <= f i).
    { induction n as [|n IH]; intros g f H; [exists (g + 1); split; [lra|lia]|].
      destruct (IH g f) as [r [Hr Hf]]; [auto with arith|]. exists (Rmin r (f n)).
      split; [apply Rmin_glb_lt; auto with arith|]. intros i Hi.
      destruct (Nat.eq_dec i n) as [->|Hne]; [apply Rmin_r|].
      apply Rle_trans with r; [apply Rmin_l|apply Hf; lia]. }
    intros theta g. split.
    - intros HG r [theta' Hr]. destruct (HG theta') as [i [Hi Hle]]. specialize (Hr i Hi). lra.
    - intros Hub theta'.
      destruct (search N (fun i => l i theta - l i theta' <= g)
                         (fun i => g < l i theta - l i theta')) as [H|H].
      + intros i _. destruct (Rle_lt_dec (l i theta - l i theta') g); [now left|now right].
      + exact H.
      + destruct (Hroom N g _ H) as [r [Hgr Hr]].
        assert (r <= g) by (apply Hub; now exists theta'). lra.
  Qed.

  (* WP is where the Pareto gap is 0. *)
  Lemma WP_gap : forall theta, WP theta <-> G_le theta 0.
  Proof.
    intros theta. split.
    - intros HWP theta'.
      destruct (search N (fun i => l i theta - l i theta' <= 0)
                         (fun i => l i theta' < l i theta)) as [H|H].
      + intros i _. destruct (Rle_lt_dec (l i theta) (l i theta')); [left|right]; lra.
      + exact H.
      + exfalso. apply HWP. now exists theta'.
    - intros HG [theta' H]. destruct (HG theta') as [i [Hi Hle]]. specialize (H i Hi). lra.
  Qed.

  (* (ii) F_w(theta) <= v(w) + g implies G(theta) <= g. *)
  Theorem C01_gap : forall w theta g, simplex w -> near (F w) g theta -> G_le theta g.
  Proof.
    intros w theta g Hw Hnear theta'.
    destruct (search N (fun i => l i theta - l i theta' <= g)
                       (fun i => g < l i theta - l i theta')) as [H|H].
    - intros i _. destruct (Rle_lt_dec (l i theta - l i theta') g); [now left|now right].
    - exact H.
    - exfalso. specialize (Hnear theta'). assert (Hf := F_falls w theta theta' g Hw H). lra.
  Qed.

  (* The same with the infimum v(w) named: G(theta) <= F_w(theta) - v(w). *)
  Corollary C01_gap_inf : forall w theta v, simplex w ->
    is_inf (fun r => exists theta', r = F w theta') v -> G_le theta (F w theta - v).
  Proof.
    intros w theta v Hw [Hlow _]. apply C01_gap with w; [exact Hw|].
    intros theta'. assert (v <= F w theta') by (apply Hlow; now exists theta'). lra.
  Qed.

  (* (i) theta in S(w) for some w in the simplex implies theta in WP. *)
  Theorem C01_forward : forall w theta, simplex w -> S_w w theta -> WP theta.
  Proof.
    intros w theta Hw HS. apply WP_gap, C01_gap with w; [exact Hw|].
    now apply minimiser_near.
  Qed.

  (* The union of the S(w) is part of WP: what BDS may choose, BMO may choose. *)
  Corollary C01_union : forall theta, BDS_models theta -> WP theta.
  Proof. intros theta [w [Hw HS]]. now apply C01_forward with w. Qed.

  (* Sequences: F_w(theta_k) - v(w) -> 0 implies G(theta_k) -> 0. *)
  Corollary C01_reaches : forall w r, simplex w -> reaches w r -> WP_reaches r.
  Proof.
    intros w r Hw Hr eps Heps. destruct (Hr eps Heps) as [theta [Hnear Hval]].
    exists theta. split; [now apply C01_gap with w|exact Hval].
  Qed.
End C01.

(* (iii) Control: without A5 a weakly Pareto point may be in no S(w) ---------------------------- *)

(* Two wells, l = 1 - exp(-(theta -+ 1)^2), and L_val = theta^2 / 2. *)
Definition centre (i : nat) : R := if Nat.eqb i 0 then 1 else -1.
Definition wells : Problem :=
  {| Theta := R; N := 2;
     l := fun i theta => 1 - exp (- (theta - centre i) ^ 2);
     L_val := fun theta => theta ^ 2 / 2 |}.

(* exp(-1) < 2/5: exp(1) = exp(1/8)^8 >= (9/8)^8. *)
Lemma exp_m1 : exp (-1) < 2 / 5.
Proof.
  assert (H8 : 9 / 8 < exp (1 / 8)) by (assert (H := exp_ineq1 (1 / 8) ltac:(lra)); lra).
  assert (H4 : exp (1 / 4) = exp (1 / 8) * exp (1 / 8)) by (rewrite <- exp_plus; f_equal; lra).
  assert (H2 : exp (1 / 2) = exp (1 / 4) * exp (1 / 4)) by (rewrite <- exp_plus; f_equal; lra).
  assert (H1 : exp 1 = exp (1 / 2) * exp (1 / 2)) by (rewrite <- exp_plus; f_equal; lra).
  assert (Hone : exp (-1) * exp 1 = 1).
  { rewrite <- exp_plus. replace (-1 + 1) with 0 by lra. apply exp_0. }
  assert (1.26 < exp (1 / 4)) by nra. assert (1.587 < exp (1 / 2)) by nra.
  assert (2.5 < exp 1) by nra. assert (Hp := exp_pos (-1)). nra.
Qed.

Lemma well : forall i theta s,
  (theta - centre i) ^ 2 = s -> @l wells i theta = 1 - exp (- s).
Proof. intros i theta s <-. reflexivity. Qed.

Lemma F_wells : forall w theta,
  @F wells w theta = w 0%nat * @l wells 0 theta + w 1%nat * @l wells 1 theta.
Proof. intros w theta. unfold F. simpl. lra. Qed.

(* theta = 0 is weakly Pareto: a step to either side climbs out of one well. *)
Example wells_WP : WP (P := wells) 0.
Proof.
  intros [theta' H].
  assert (H0 := H 0%nat ltac:(simpl; lia)). assert (H1 := H 1%nat ltac:(simpl; lia)).
  rewrite (well 0 0 1), (well 0 theta' ((theta' - 1) ^ 2)) in H0
    by (unfold centre; simpl; lra).
  rewrite (well 1 0 1), (well 1 theta' ((theta' + 1) ^ 2)) in H1
    by (unfold centre; simpl; lra).
  destruct (Rle_lt_dec theta' 0) as [Hle|Hlt].
  - enough (exp (- (theta' - 1) ^ 2) <= exp (Ropp 1)) by lra. apply exp_le_compat. nra.
  - enough (exp (- (theta' + 1) ^ 2) <= exp (Ropp 1)) by lra. apply exp_le_compat. nra.
Qed.

(* For every w the gap of theta = 0 is above 1/10: one of the two wells lies 1/10 below. *)
Example wells_gap : forall w, simplex (P := wells) w -> ~ near (F (P := wells) w) (1 / 10) 0.
Proof.
  intros w [Hw Hsum] Hnear. simpl in Hw, Hsum.
  assert (Hw0 := Hw 0%nat ltac:(lia)). assert (Hw1 := Hw 1%nat ltac:(lia)).
  assert (Hright := Hnear 1). assert (Hleft := Hnear (-1)). clear Hnear.
  rewrite !F_wells in Hright, Hleft.
  rewrite (well 0 0 1), (well 1 0 1) in Hright, Hleft by (unfold centre; simpl; lra).
  rewrite (well 0 1 0), (well 1 1 4) in Hright by (unfold centre; simpl; lra).
  rewrite (well 0 (-1) 4), (well 1 (-1) 0) in Hleft by (unfold centre; simpl; lra).
  rewrite Ropp_0, exp_0 in Hright, Hleft.
  assert (H1 := exp_m1 : exp (Ropp 1) < _). assert (H4 := exp_pos (Ropp 4)).
  destruct (Rle_lt_dec (w 0%nat) (1 / 2)); nra.
Qed.

(* So the union of the S(w) is not all of WP. *)
Example wells_not_scalarised : ~ BDS_models (P := wells) 0.
Proof.
  intros [w [Hw HS]]. apply (wells_gap w Hw). intros theta'. specialize (HS theta'). lra.
Qed.

(* The hypotheses can be met: theta = 0 is in S(w) for squares in place of the wells. ----------- *)

Definition squares : Problem :=
  {| Theta := R; N := 2;
     l := fun i theta => (theta - centre i) ^ 2;
     L_val := fun theta => theta ^ 2 / 2 |}.

Example squares_WP : BDS_models (P := squares) 0 /\ WP (P := squares) 0.
Proof.
  assert (H : BDS_models (P := squares) 0).
  { exists (fun _ => 1 / 2). split; [split; simpl; intros; lra|].
    intros theta'. unfold F. simpl. unfold centre. simpl. nra. }
  split; [exact H|now apply C01_union].
Qed.

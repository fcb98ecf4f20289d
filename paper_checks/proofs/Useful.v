(* What the proofs of C04, C05, C06 and C08 have in common.

   Jointly useful sets; S(w) where the support of w can be fitted together; V_BDS = L_val* under A3;
   and squared losses of two rows on the plane, from which the instances are made. Smoothness and
   convexity play no part here. *)

From BDTheory Require Import Base C02.

Section JointlyUseful.
  Context {P : Problem}.

  (* J is jointly useful: the intersection of its S_i meets S_val. *)
  Definition jointly_useful (J : nat -> Prop) : Prop :=
    exists theta, S_val theta /\ forall i, J i -> S_i i theta.

  (* The same through sequences: one theta comes near all these infima. *)
  Definition lim_jointly_useful (J : nat -> Prop) : Prop :=
    forall eps, 0 < eps ->
      exists theta, near L_val eps theta /\ forall i, J i -> near (l i) eps theta.

  (* Every sample the same weight. *)
  Definition uniform : nat -> R := fun _ => / INR N.

  Lemma sum_const : forall n c, sum n (fun _ => c) = INR n * c.
  Proof.
    induction n as [|n IH]; intros c; [simpl; ring|]. rewrite S_INR. simpl. rewrite IH. ring.
  Qed.

  Lemma uniform_simplex : (0 < N)%nat -> simplex uniform.
  Proof.
    intros HN. assert (H := lt_0_INR N HN). unfold uniform. split.
    - intros i _. left. now apply Rinv_0_lt_compat.
    - rewrite sum_const. apply Rinv_r. lra.
  Qed.

  (* The positive ones among finitely many weights are at least some c > 0. *)
  Lemma least_weight : forall n (w : nat -> R),
    exists c, 0 < c /\ forall i, (i < n)%nat -> 0 < w i -> c <= w i.
  Proof.
    intros n w. induction n as [|n [c [Hc Hall]]]; [exists 1; split; [lra|lia]|].
    destruct (Rlt_dec 0 (w n)) as [Hn|Hn].
    - exists (Rmin c (w n)). split; [now apply Rmin_pos|]. intros i Hi Hpos.
      destruct (Nat.eq_dec i n) as [->|Hne]; [apply Rmin_r|].
      apply Rle_trans with c; [apply Rmin_l|apply Hall; [lia|exact Hpos]].
    - exists c. split; [exact Hc|]. intros i Hi Hpos.
      destruct (Nat.eq_dec i n) as [->|Hne]; [contradiction|apply Hall; [lia|exact Hpos]].
  Qed.

  (* What fits every sample in the support minimises F_w. No A2: the support alone counts. *)
  Lemma near_F : forall w theta eps, simplex w ->
    (forall i, support w i -> near (l i) eps theta) -> near (F w) eps theta.
  Proof.
    intros w theta eps Hw H theta'. rewrite <- (mean_const w eps Hw). unfold F.
    rewrite <- sum_plus. apply sum_le. intros i Hi. rewrite <- Rmult_plus_distr_l.
    destruct (proj1 Hw i Hi) as [Hpos|<-]; [|lra].
    apply Rmult_le_compat_l; [lra|]. apply H. now split.
  Qed.

  Lemma fits_S_w : forall w theta, simplex w ->
    (forall i, support w i -> S_i i theta) -> S_w w theta.
  Proof.
    intros w theta Hw H. apply minimiser_near, near_F; [exact Hw|].
    intros i Hi. now apply minimiser_near, H.
  Qed.

  (* A1: what comes within eps of the infimum of l_i has l_i <= eps. *)
  Lemma near_A1 : forall i eps theta, A1 -> (i < N)%nat -> near (l i) eps theta -> l i theta <= eps.
  Proof.
    intros i eps theta HA1 Hi H. destruct (HA1 i Hi) as [_ Hbest].
    enough (l i theta - eps <= 0) by lra. apply Hbest.
    intros r [theta' ->]. specialize (H theta'). lra.
  Qed.

  Lemma A1_pos : forall i theta, A1 -> (i < N)%nat -> 0 <= l i theta.
  Proof. intros i theta HA1 Hi. apply (HA1 i Hi). now exists theta. Qed.

  Lemma F_pos : forall w theta, A1 -> (forall i, (i < N)%nat -> 0 <= w i) -> 0 <= F w theta.
  Proof.
    intros w theta HA1 Hw. apply sum_nonneg. intros i Hi. apply Rmult_le_pos; [auto|].
    now apply A1_pos.
  Qed.

  (* A3: theta attains V_BDS = L_val* exactly when it is in S_val. *)
  Lemma at_V_BDS : forall v theta, A3 -> V_BDS v -> (L_val theta = v <-> S_val theta).
  Proof.
    intros v theta HA3 HV. apply (C02_values_A3 HA3) in HV. destruct HV as [Hlow Hbest].
    split; [intros <- theta'; apply Hlow; now exists theta'|].
    intros HS. apply Rle_antisym; [|apply Hlow; now exists theta].
    apply Hbest. intros r [theta' [_ ->]]. apply HS.
  Qed.

  (* L_val* is the value of L_val on S_val; under A3 so is V_BDS. *)
  Lemma L_val_star_at : forall theta, S_val theta -> L_val_star (L_val theta).
  Proof.
    intros theta HS. split; [intros r [theta' [_ ->]]; apply HS|].
    intros b Hb. apply Hb. now exists theta.
  Qed.

  Lemma V_BDS_at : forall theta, A3 -> S_val theta -> V_BDS (L_val theta).
  Proof. intros theta HA3 HS. now apply (C02_values_A3 HA3), L_val_star_at. Qed.

  (* The corner e_i has the support {i}. *)
  Lemma support_e : forall i j, support (e i) j -> j = i.
  Proof.
    intros i j [_ Hj]. unfold e in Hj. destruct (Nat.eqb_spec j i) as [Heq|Hne]; [exact Heq|lra].
  Qed.
End JointlyUseful.

(* Squared losses on the plane, theta = (a, b), for the instances ------------------------------ *)

(* The squared loss of one row: (p a + q b - r)^2 / 2. *)
Definition sq (p q r : R) (theta : R * R) : R := (p * fst theta + q * snd theta - r) ^ 2 / 2.

(* Two samples. *)
Definition two_rows (L_val l_0 l_1 : R * R -> R) : Problem :=
  {| Theta := R * R; N := 2; l := fun i => if Nat.eqb i 0 then l_0 else l_1; L_val := L_val |}.

Lemma two : forall i, (i < 2)%nat -> i = 0%nat \/ i = 1%nat.
Proof. lia. Qed.

Lemma sq_pos : forall p q r theta, 0 <= sq p q r theta.
Proof.
  intros p q r theta. unfold sq.
  assert (H := pow2_ge_0 (p * fst theta + q * snd theta - r)). lra.
Qed.

(* The row is fitted where its residual is 0, and only there if it is 0 anywhere. *)
Lemma sq_min : forall p q r theta, p * fst theta + q * snd theta = r ->
  forall theta', sq p q r theta <= sq p q r theta'.
Proof.
  intros p q r theta H theta'. assert (Hp := sq_pos p q r theta').
  unfold sq at 1. rewrite H, Rminus_eq_0. lra.
Qed.

Lemma sq_min_only : forall p q r theta theta0, p * fst theta0 + q * snd theta0 = r ->
  (forall theta', sq p q r theta <= sq p q r theta') -> p * fst theta + q * snd theta = r.
Proof.
  intros p q r theta theta0 H0 H. specialize (H theta0). unfold sq in H.
  rewrite H0, Rminus_eq_0 in H. apply Rminus_diag_uniq, Rsqr_0_uniq. unfold Rsqr.
  assert (Hp := pow2_ge_0 (p * fst theta + q * snd theta - r)). simpl in *. lra.
Qed.

Lemma sq_inf : forall p q r theta0, p * fst theta0 + q * snd theta0 = r ->
  is_inf (fun v => exists theta, v = sq p q r theta) 0.
Proof.
  intros p q r theta0 H0. split; [intros v [theta ->]; apply sq_pos|].
  intros b Hb. apply Hb. exists theta0. unfold sq. rewrite H0. lra.
Qed.

(* "This theta fits that row", for given numbers. *)
Ltac fits := unfold S_i, S_val, minimiser; simpl; apply sq_min; simpl; lra.

(* The hypotheses can hold together: L_val = a^2/2, l_0 = b^2/2 is useful, l_1 = (a - 1)^2/2 is not,
   both are fitted at (1, 0), and U = {0} is jointly useful. *)
Definition one_useful : Problem := two_rows (sq 1 0 0) (sq 0 1 0) (sq 1 0 1).

Example one_useful_assumptions : let P := one_useful in
  A1 /\ A2 /\ A3 /\ A4 /\ jointly_useful U /\
  (forall i, (i < N)%nat -> (Nat.eqb i 0 = true <-> useful i)).
Proof.
  cbv zeta.
  assert (H0 : @useful one_useful 0) by (exists (0, 0); split; fits).
  assert (H1 : ~ @useful one_useful 1).
  { intros [theta [HS Hv]]. apply (sq_min_only _ _ _ _ (1, 0)) in HS; [|simpl; lra].
    apply (sq_min_only _ _ _ _ (0, 0)) in Hv; simpl in *; lra. }
  split; [|split; [|split; [|split; [|split]]]].
  - intros i Hi. now destruct (two i Hi) as [->| ->]; apply (sq_inf _ _ _ (1, 0)); simpl; lra.
  - exists (1, 0). intros i Hi. destruct (two i Hi) as [->| ->]; fits.
  - exists 0%nat. split; [simpl; lia|exact H0].
  - exists 1%nat. split; [simpl; lia|exact H1].
  - exists (0, 0). split; [fits|].
    intros i [Hi Huse]. destruct (two i Hi) as [->| ->]; [fits|contradiction].
  - intros i Hi. destruct (two i Hi) as [->| ->]; simpl; [tauto|].
    split; [discriminate|contradiction].
Qed.

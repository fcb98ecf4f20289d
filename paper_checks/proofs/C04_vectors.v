(* C04(a) in R^p, with gradients, and for squared loss of any size.

   Stated: (i) A5 with gradients in R^p, as in C01_converse.v, implies A5 along lines, as in C04.v;
   so the gap of C04(a) is there in R^p. (ii) Squared loss has A5: N training rows, m
   validation rows, p parameters, any numbers. So A2, A3, A4 alone give the gap for squared loss at
   mu = 0. (iii) An instance.

   Not stated: that theta_lam exists (for squared loss it does); the limit of gap / lam^2. *)

From Coq Require Import FunctionalExtensionality.
From BDTheory Require Import Base C02 Vectors C01_converse Useful C04.

(* theta + t (theta' - theta). *)
#[export] Instance vector_lines n loss val : Lines (vectors n loss val).
Proof.
  exists segment. intros theta theta'. apply functional_extensionality.
  intros k. unfold segment, step. lra.
Defined.

(* (i) "Convex" means the same. A derivative along every line follows from a gradient. *)
Lemma along_lines : forall p n loss val f, C01_converse.differentiable p f ->
  C04.differentiable (P := vectors n loss val) f.
Proof.
  intros p n loss val f Hf theta theta'. destruct (Hf theta) as [g Hg].
  set (d := fun k => theta' k - theta k). exists (dot p g d). intros eps Heps.
  destruct (Hg d eps Heps) as [delta [Hdelta Hlim]]. exists (mkposreal delta Hdelta).
  intros h Hh Hsmall. simpl. unfold segment. fold d. rewrite Rplus_0_l.
  replace (step theta 0 d) with theta; [now apply Hlim|].
  apply functional_extensionality. intros k. unfold step. lra.
Qed.

Lemma along_segments : forall n loss val f, C01_converse.convex f ->
  C04.convex (P := vectors n loss val) f.
Proof. intros n loss val f Hf theta theta' t Ht. now apply Hf. Qed.

Lemma A5_vectors : forall p n loss val, C01_converse.A5 p n loss val ->
  C04.A5 (P := vectors n loss val).
Proof.
  intros p n loss val [Hl [Hval Hval']].
  split; [|split; [now apply along_segments|now apply along_lines with p]].
  intros i Hi. destruct (Hl i Hi). split; [now apply along_segments|now apply along_lines with p].
Qed.

(* (i) In R^p, with gradients: L_val(theta_lam) > V_BDS = L_val* at every lam > 0. *)
Theorem C04_vectors : forall p n loss val, let P := vectors n loss val in
  A2 -> A3 -> A4 -> C01_converse.A5 p n loss val ->
  forall lam theta V, V_BDS V -> 0 < lam -> DM lam theta -> V < L_val theta /\ L_val_star V.
Proof.
  intros p n loss val P HA2 HA3 HA4 HA5 lam theta V HV Hlam HDM.
  apply C04_gap with lam; try assumption. now apply A5_vectors with p.
Qed.

(* Squared loss -------------------------------------------------------------------------------- *)

(* Quadratic: f(theta + t d) = f(theta) + t g.d + t^2 q with q >= 0. *)
Definition quadratic (p : nat) (f : (nat -> R) -> R) : Prop :=
  forall theta, exists g, forall d, exists q, 0 <= q /\
    forall t, f (step theta t d) = f theta + t * dot p g d + t ^ 2 * q.

Lemma quadratic_convex : forall p f, quadratic p f -> C01_converse.convex f.
Proof.
  intros p f Hf theta theta' t _ _ Ht. destruct (Hf theta) as [g Hg].
  destruct (Hg (fun k => theta' k - theta k)) as [q [Hq Hline]].
  assert (Hend := Hline 1). unfold segment.
  replace (step theta 1 (fun k => theta' k - theta k)) with theta' in Hend.
  - rewrite Hline, Hend. assert (0 <= t * (1 - t) * q).
    { apply Rmult_le_pos; [apply Rmult_le_pos; lra|exact Hq]. }
    simpl. lra.
  - apply functional_extensionality. intros k. unfold step. lra.
Qed.

Lemma quadratic_differentiable : forall p f, quadratic p f -> C01_converse.differentiable p f.
Proof.
  intros p f Hf theta. destruct (Hf theta) as [g Hg]. exists g. intros d eps Heps.
  destruct (Hg d) as [q [Hq Hline]]. exists (eps / (q + 1)).
  split; [apply Rdiv_lt_0_compat; lra|]. intros t Ht Hsmall. rewrite Hline.
  replace ((f theta + t * dot p g d + t ^ 2 * q - f theta) / t - dot p g d) with (t * q)
    by (field; exact Ht).
  rewrite Rabs_mult, (Rabs_right q) by lra.
  apply Rmult_lt_compat_r with (r := q + 1) in Hsmall; [|lra].
  replace (eps / (q + 1) * (q + 1)) with eps in Hsmall by (field; lra).
  assert (Hp := Rabs_pos t). lra.
Qed.

(* One row: (x.theta - y)^2 / 2, with gradient (x.theta - y) x and q = (x.d)^2 / 2. *)
Definition row_loss (p : nat) (x : nat -> R) (y : R) (theta : nat -> R) : R :=
  (dot p x theta - y) ^ 2 / 2.

Lemma row_quadratic : forall p x y, quadratic p (row_loss p x y).
Proof.
  intros p x y theta. exists (fun k => (dot p x theta - y) * x k). intros d.
  exists (dot p x d ^ 2 / 2). split; [assert (H := pow2_ge_0 (dot p x d)); lra|]. intros t.
  assert (Hstep : dot p x (step theta t d) = dot p x theta + t * dot p x d).
  { unfold dot, step. rewrite <- sum_scal, <- sum_plus. apply sum_ext. intros; ring. }
  assert (Hg : dot p (fun k => (dot p x theta - y) * x k) d = (dot p x theta - y) * dot p x d).
  { unfold dot. rewrite <- sum_scal. apply sum_ext. intros; ring. }
  unfold row_loss. rewrite Hg, Hstep. field.
Qed.

(* Sums with weights c >= 0 of quadratic functions are quadratic. *)
Lemma sum_quadratic : forall p c m (f : nat -> (nat -> R) -> R), 0 <= c ->
  (forall j, (j < m)%nat -> quadratic p (f j)) ->
  quadratic p (fun theta => c * sum m (fun j => f j theta)).
Proof.
  intros p c m f Hc. induction m as [|m IH]; intros Hf theta.
  - exists (fun _ => 0). intros d. exists 0. split; [lra|]. intros t. simpl. unfold dot.
    rewrite (sum_ext p _ (fun _ => 0)), sum_zero by (intros; ring). ring.
  - destruct (IH ltac:(auto with arith) theta) as [g Hg].
    destruct (Hf m ltac:(lia) theta) as [h Hh].
    exists (fun k => 1 * g k + c * h k). intros d.
    destruct (Hg d) as [q [Hq Hline]], (Hh d) as [r [Hr Hline']].
    exists (q + c * r). split; [|intros t].
    { assert (0 <= c * r) by now apply Rmult_le_pos. lra. }
    simpl. rewrite dot_combine, !Rmult_plus_distr_l, Hline, Hline'. ring.
Qed.

(* (ii) Squared loss: N rows X i -> y i, m rows X_val j -> y_val j. *)
Definition squared (p n m : nat) (X X_val : nat -> nat -> R) (y y_val : nat -> R) : Problem :=
  vectors n (fun i => row_loss p (X i) (y i))
    (fun theta => / INR m * sum m (fun j => row_loss p (X_val j) (y_val j) theta)).

Lemma squared_A5 : forall p n m X X_val y y_val, (0 < m)%nat ->
  C01_converse.A5 p n (fun i => row_loss p (X i) (y i))
    (fun theta => / INR m * sum m (fun j => row_loss p (X_val j) (y_val j) theta)).
Proof.
  intros p n m X X_val y y_val Hm.
  assert (Hval : quadratic p
    (fun theta => / INR m * sum m (fun j => row_loss p (X_val j) (y_val j) theta))).
  { apply sum_quadratic with (f := fun j => row_loss p (X_val j) (y_val j)).
    - left. now apply Rinv_0_lt_compat, lt_0_INR.
    - intros j _. apply row_quadratic. }
  split; [|split; [now apply quadratic_convex with p|now apply quadratic_differentiable]].
  intros i _. assert (H := row_quadratic p (X i) (y i)).
  split; [now apply quadratic_convex with p|now apply quadratic_differentiable].
Qed.

(* (ii) Squared loss, mu = 0, any data: L_val(theta_lam) > V_BDS = L_val* at every lam > 0. *)
Theorem C04_squared : forall p n m X X_val y y_val, (0 < m)%nat ->
  let P := squared p n m X X_val y y_val in
  A2 -> A3 -> A4 -> forall lam theta V, V_BDS V -> 0 < lam ->
  @DM P lam theta -> V < L_val theta /\ L_val_star V.
Proof.
  intros p n m X X_val y y_val Hm P HA2 HA3 HA4. apply C04_vectors with p; try assumption.
  now apply squared_A5.
Qed.

(* (iii) Its hypotheses can hold together: X_val = (1, 0) -> 0, training rows (0, 1) -> 0 and
   (1, 0) -> 1, as in one_useful, with theta_lam = (lam / (2 + lam), 0). *)
Definition unit_row (k : nat) : nat -> R := fun k' => if Nat.eqb k' k then 1 else 0.

Example C04_squared_instance :
  let P := squared 2 2 1 (fun i => unit_row (1 - i)) (fun _ => unit_row 0) INR (fun _ => 0) in
  A2 /\ A3 /\ A4 /\ forall lam, 0 < lam -> @DM P lam (fun k => unit_row 0 k * (lam / (2 + lam))).
Proof.
  cbv zeta. set (P := squared _ _ _ _ _ _ _).
  assert (Hval : forall theta : nat -> R, @L_val P theta = theta 0%nat ^ 2 / 2).
  { intros theta. simpl. unfold row_loss, dot, unit_row. simpl. field. }
  assert (Hl0 : forall theta : nat -> R, @l P 0 theta = theta 1%nat ^ 2 / 2).
  { intros theta. simpl. unfold row_loss, dot, unit_row. simpl. field. }
  assert (Hl1 : forall theta : nat -> R, @l P 1 theta = (theta 0%nat - 1) ^ 2 / 2).
  { intros theta. simpl. unfold row_loss, dot, unit_row. simpl. field. }
  split; [|split; [|split]].
  - exists (unit_row 0). intros i Hi theta.
    destruct (two i Hi) as [->| ->]; rewrite ?Hl0, ?Hl1; unfold unit_row; simpl.
    + assert (H := pow2_ge_0 (theta 1%nat)). simpl in H. lra.
    + assert (H := pow2_ge_0 (theta 0%nat - 1)). simpl in H. lra.
  - exists 0%nat. split; [simpl; lia|]. exists (fun _ => 0). split; intros theta.
    + rewrite !Hl0. assert (H := pow2_ge_0 (theta 1%nat)). simpl in *. lra.
    + rewrite !Hval. assert (H := pow2_ge_0 (theta 0%nat)). simpl in *. lra.
  - exists 1%nat. split; [simpl; lia|]. intros [theta [HS Hv]].
    specialize (HS (fun _ => 1)). specialize (Hv (fun _ => 0)).
    rewrite !Hl1 in HS. rewrite !Hval in Hv. simpl in HS, Hv. nra.
  - intros lam Hlam theta. assert (HF : forall t : nat -> R, @F P uniform t
      = / 2 * (t 1%nat ^ 2 / 2) + / 2 * ((t 0%nat - 1) ^ 2 / 2)).
    { intros t. rewrite <- Hl0, <- Hl1. unfold F, uniform. simpl. field. }
    unfold mixed. rewrite !Hval, !HF. unfold unit_row. simpl.
    assert (H : 0 <= (2 + lam) / 4 * (theta 0%nat - lam / (2 + lam)) ^ 2
                     + lam / 4 * theta 1%nat ^ 2).
    { apply Rplus_le_le_0_compat; (apply Rmult_le_pos; [lra|apply pow2_ge_0]). }
    apply Rminus_le. apply Ropp_le_cancel. rewrite Ropp_0. apply Rle_trans with (1 := H). right.
    field. lra.
Qed.

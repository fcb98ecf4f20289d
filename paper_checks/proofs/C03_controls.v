(* C03 (b): its two controls.

   Stated: (i) validation data not separable: validation rows (1,0), (-1,0), (0,1), training rows
   (0,1), (1,0), (-1,0): the last two are useless, and w = (1/2, 1/4, 1/4) is optimal. (ii) A1
   dropped: a row z_1 = 0 has the certificate a = 0, and w = (1/2, 1/2) is optimal. (Its loss is
   constant, so through sequences it is even useful; "useless" it is only by the certificate.) *)

From BDTheory Require Import Base C01 C02 C02_limits Vectors Logistic C03_logistic.

(* (i) Validation data that are not separable --------------------------------------------------- *)

Definition plane_row (a b : R) : nat -> R := fun k => if Nat.eqb k 0 then a else b.
Definition cross_z (i : nat) : nat -> R :=
  match i with 0%nat => plane_row 0 1 | 1%nat => plane_row 1 0 | _ => plane_row (-1) 0 end.
Definition cross_zt (j : nat) : nat -> R :=
  match j with 0%nat => plane_row 1 0 | 1%nat => plane_row (-1) 0 | _ => plane_row 0 1 end.
Definition cross : Problem := logistic 2 3 3 cross_z cross_zt.
Definition halves (i : nat) : R := match i with 0%nat => 1 / 2 | _ => 1 / 4 end.

Lemma dot_plane : forall a b theta, dot 2 (plane_row a b) theta = a * theta 0%nat + b * theta 1%nat.
Proof. intros. unfold dot, plane_row. simpl. lra. Qed.

Lemma cross_l : forall theta, @l cross 0 theta = log_loss (theta 1%nat) /\
  @l cross 1 theta = log_loss (theta 0%nat) /\ @l cross 2 theta = log_loss (- theta 0%nat).
Proof.
  intros theta. simpl. rewrite !dot_plane. repeat split; f_equal; lra.
Qed.

Lemma cross_L_val : forall theta, @L_val cross theta =
  (log_loss (theta 0%nat) + log_loss (- theta 0%nat) + log_loss (theta 1%nat)) / 3.
Proof.
  intros theta. simpl. rewrite !dot_plane.
  replace (1 * theta 0%nat + 0 * theta 1%nat) with (theta 0%nat) by lra.
  replace (-1 * theta 0%nat + 0 * theta 1%nat) with (- theta 0%nat) by lra.
  replace (0 * theta 0%nat + 1 * theta 1%nat) with (theta 1%nat) by lra. field.
Qed.

Lemma cross_F : forall theta, F (P := cross) halves theta = log_loss (theta 1%nat) / 2 +
  (log_loss (theta 0%nat) + log_loss (- theta 0%nat)) / 4.
Proof.
  intros theta. destruct (cross_l theta) as [H0 [H1 H2]]. unfold F. simpl N. simpl sum.
  fold (@l cross 0 theta). simpl in *. rewrite H0, H1, H2. lra.
Qed.

Lemma cross_low : forall theta, 2 / 3 * ln 2 <= @L_val cross theta.
Proof.
  intros theta. rewrite cross_L_val. assert (H := both_signs (theta 0%nat)).
  assert (H' := log_loss_pos (theta 1%nat)). lra.
Qed.

(* Along theta = (0, t), t -> infinity, L_val tends to L_val* = (2/3) log 2. *)
Lemma cross_far : forall eps, 0 < eps ->
  log_loss (plane_row 0 (/ eps) 1%nat) <= eps /\
  @L_val cross (plane_row 0 (/ eps)) <= 2 / 3 * ln 2 + eps.
Proof.
  intros eps Heps. assert (H := log_loss_small eps (/ eps) Heps (Rle_refl _)).
  rewrite cross_L_val. unfold plane_row. simpl. rewrite Ropp_0, log_loss_0. split; lra.
Qed.

Lemma cross_A3 : lim_A3 (P := cross).
Proof.
  exists 0%nat. split; [simpl; lia|]. apply (useful_if cross 0 0 (2 / 3 * ln 2)).
  - intros theta. left. apply log_loss_pos.
  - apply cross_low.
  - intros eps Heps. exists (plane_row 0 (/ eps)). destruct (cross_far eps Heps) as [H1 H2].
    destruct (cross_l (plane_row 0 (/ eps))) as [-> _]. lra.
Qed.

Lemma cross_useless : ~ lim_useful (P := cross) 1 /\ ~ lim_useful (P := cross) 2.
Proof.
  (* eps-optimal for the sample puts theta_1 beyond 10, where L_val is above 10 / 3. *)
  assert (H : forall c, c = 1 \/ c = -1 -> exists eps, 0 < eps /\ forall theta : nat -> R,
    near (P := cross) (fun theta => log_loss (c * theta 0%nat)) eps theta ->
    ~ near (P := cross) L_val eps theta).
  { intros c Hc. assert (Hpos := log_loss_pos 10). exists (Rmin 1 (log_loss 10 / 2)).
    assert (Hl := Rmin_l 1 (log_loss 10 / 2)). assert (Hr := Rmin_r 1 (log_loss 10 / 2)).
    assert (Heps : 0 < Rmin 1 (log_loss 10 / 2)) by (apply Rmin_pos; lra).
    set (eps := Rmin 1 (log_loss 10 / 2)) in *. split; [exact Heps|]. intros theta Hnear Hval.
    assert (Hsmall : log_loss (c * theta 0%nat) <= 2 * eps).
    { specialize (Hnear (row (c * / eps))). unfold row in Hnear. simpl in Hnear.
      replace (c * (c * / eps)) with (/ eps) in Hnear by (destruct Hc as [-> | ->]; lra).
      assert (Hfar := log_loss_small eps (/ eps) Heps (Rle_refl _)). lra. }
    assert (Hten : 10 <= c * theta 0%nat).
    { apply Rnot_lt_le. intros Hlt. apply log_loss_decreasing in Hlt. lra. }
    specialize (Hval (row 0)). rewrite !cross_L_val in Hval. unfold row in Hval.
    rewrite Ropp_0, log_loss_0 in Hval. assert (H0 := log_loss_pos (theta 1%nat)).
    assert (H1 := log_loss_pos (theta 0%nat)). assert (H2 := log_loss_pos (- theta 0%nat)).
    assert (H3 := log_loss_margin (theta 0%nat)). assert (H4 := log_loss_margin (- theta 0%nat)).
    assert (Hln2 : ln 2 <= 1).
    { left. rewrite <- ln_exp. apply ln_increasing; [lra|]. apply (exp_ineq1 1). lra. }
    destruct Hc as [-> | ->]; lra. }
  split; intros Huse; [destruct (H 1) as [eps [Heps Hno]]; [now left|]|
    destruct (H (-1)) as [eps [Heps Hno]]; [now right|]];
    destruct (Huse eps Heps) as [theta [Hnear Hval]]; apply (Hno theta); try exact Hval;
    intros theta'; specialize (Hnear theta'); destruct (cross_l theta) as [_ [H1 H2]];
    destruct (cross_l theta') as [_ [H1' H2']].
  - rewrite H1, H1' in Hnear. rewrite !Rmult_1_l. exact Hnear.
  - rewrite H2, H2' in Hnear. replace (-1 * theta 0%nat) with (- theta 0%nat) by lra.
    replace (-1 * theta' 0%nat) with (- theta' 0%nat) by lra. exact Hnear.
Qed.

(* A1 and A3 hold; w = (1/2, 1/4, 1/4) is optimal, with half its mass on useless samples. *)
Theorem C03_control_separable :
  A1 (P := cross) /\ lim_A3 (P := cross) /\ ~ separable 2 3 cross_zt /\
  ~ lim_useful (P := cross) 1 /\ ~ lim_useful (P := cross) 2 /\
  lim_BDS_optimal (P := cross) halves.
Proof.
  split; [|split; [exact cross_A3|split; [|split; [apply cross_useless|split;
    [apply cross_useless|]]]]].
  - apply A1_rows. intros [|[|i]] _; [exists 1%nat|exists 0%nat|exists 0%nat];
      (split; [lia|unfold cross_z, plane_row; simpl; lra]).
  - intros [theta H]. assert (H0 := H 0%nat ltac:(lia)). assert (H1 := H 1%nat ltac:(lia)).
    simpl in H0, H1. rewrite dot_plane in H0, H1. lra.
  - apply (optimal_if cross _ (ln 2 / 2) (2 / 3 * ln 2)).
    + split; [|simpl; lra]. intros [|i] _; unfold halves; lra.
    + exact cross_A3.
    + intros theta. rewrite cross_F. assert (H := both_signs (theta 0%nat)).
      assert (H' := log_loss_pos (theta 1%nat)). lra.
    + apply cross_low.
    + intros eps Heps. exists (plane_row 0 (/ eps)). destruct (cross_far eps Heps) as [H1 H2].
      split; [|exact H2]. rewrite cross_F. unfold plane_row in *. simpl in *.
      rewrite Ropp_0, log_loss_0. lra.
Qed.

(* (ii) A row z_1 = 0, against A1 --------------------------------------------------------------- *)

Definition blank_z (i : nat) : nat -> R := row (if Nat.eqb i 0 then 1 else 0).
Definition blank : Problem := logistic 1 2 1 blank_z (fun _ => row 1).

Lemma blank_separable : separable 1 1 (fun _ => row 1).
Proof. exists (row 1). intros j _. unfold dot, row. simpl. lra. Qed.

(* Separable and A3, a certificate for sample 1, and w = (1/2, 1/2) is optimal. *)
Theorem C03_control_A1 :
  ~ A1 (P := blank) /\ separable 1 1 (fun _ => row 1) /\ lim_A3 (P := blank) /\
  certificate 1 1 blank_z (fun _ => row 1) (row 0) 1 /\
  lim_BDS_optimal (P := blank) (fun _ => 1 / 2).
Proof.
  assert (Hl : forall theta, @l blank 0 theta = log_loss (theta 0%nat) /\
    @l blank 1 theta = ln 2 /\ @L_val blank theta = log_loss (theta 0%nat)).
  { intros theta. simpl. unfold dot, blank_z, row. simpl.
    replace (0 + 1 * theta 0%nat) with (theta 0%nat) by lra.
    replace (0 + 0 * theta 0%nat) with 0 by lra. rewrite log_loss_0. repeat split; field. }
  assert (Hfar : forall eps, 0 < eps -> log_loss (row (/ eps) 0%nat) <= eps).
  { intros eps Heps. apply log_loss_small; [exact Heps|unfold row; lra]. }
  assert (HA3 : lim_A3 (P := blank)).
  { exists 0%nat. split; [simpl; lia|]. apply (useful_if blank 0 0 0).
    - intros theta. left. apply log_loss_pos.
    - apply L_val_nonneg.
    - intros eps Heps. exists (row (/ eps)). destruct (Hl (row (/ eps))) as [-> [_ ->]].
      specialize (Hfar eps Heps). lra. }
  split; [|split; [exact blank_separable|split; [exact HA3|split]]].
  - intros HA1. destruct (proj1 A1_rows HA1 1%nat ltac:(lia)) as [k [_ Hk]].
    apply Hk. reflexivity.
  - split; [intros; unfold row; lra|]. intros k _. unfold row, blank_z, row. simpl. lra.
  - apply (optimal_if blank _ (ln 2 / 2) 0).
    + split; [intros; lra|simpl; lra].
    + exact HA3.
    + intros theta. destruct (Hl theta) as [H0 [H1 _]]. unfold F. simpl in *. rewrite H0, H1.
      assert (H := log_loss_pos (theta 0%nat)). lra.
    + apply L_val_nonneg.
    + intros eps Heps. exists (row (/ eps)). destruct (Hl (row (/ eps))) as [H0 [H1 ->]].
      specialize (Hfar eps Heps). split; [|lra]. unfold F. simpl in *. rewrite H0, H1. lra.
Qed.

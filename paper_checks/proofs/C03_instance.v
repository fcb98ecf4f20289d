(* C03 (b): an instance that meets its hypotheses, so that none of its theorems is empty.

   One dimension, validation row 1, training rows 1 and -1. Stated: (i) the validation data are
   separable, A1 and A3 hold, e_0 is optimal, sample 1 is useless and has a certificate; A2 does
   not hold, in the limit either, so C03 (a) does not apply. (ii) With the ridge mu = 7/8 s - 1/8
   (1 - s), s = 1 / (1 + exp(1)), theta = 1 minimises F_w + (mu/2) theta^2 at w = (7/8, 1/8), so
   the bound has a case with a useless sample of positive weight: 1/8 <= log 2. *)

From BDTheory Require Import Base C01 C02 C02_limits Vectors Logistic C03_logistic.

Definition signs : Problem := logistic 1 2 1 (fun i => row (centre i)) (fun _ => row 1).

Lemma signs_A1 : A1 (P := signs).
Proof.
  apply A1_rows. intros i _. exists 0%nat. split; [lia|]. unfold row, centre.
  destruct (Nat.eqb i 0); lra.
Qed.

Lemma signs_separable : separable 1 1 (fun _ => row 1).
Proof. exists (row 1). intros j _. unfold dot, row. simpl. lra. Qed.

(* -z_1 = 1 z~_0. *)
Lemma signs_certificate : certificate 1 1 (fun i => row (centre i)) (fun _ => row 1) (row 1) 1.
Proof. split; [intros; unfold row; lra|]. intros k _. unfold row, centre. simpl. lra. Qed.

Lemma signs_loss : forall i eps, 0 < eps -> centre i = 1 ->
  @l signs i (row (/ eps)) <= eps /\ @L_val signs (row (/ eps)) <= eps.
Proof.
  intros i eps Heps Hi. assert (H := log_loss_small eps (/ eps) Heps (Rle_refl _)).
  split; simpl; unfold dot, row; simpl; [rewrite Hi; replace (0 + 1 * / eps) with (/ eps) by lra|
    replace (0 + 1 * / eps) with (/ eps) by lra]; lra.
Qed.

Lemma signs_A3 : lim_A3 (P := signs).
Proof.
  exists 0%nat. split; [simpl; lia|]. apply (useful_if signs 0 0 0).
  - intros theta. left. apply log_loss_pos.
  - apply L_val_nonneg.
  - intros eps Heps. exists (row (/ eps)). destruct (signs_loss 0 eps Heps eq_refl). lra.
Qed.

Lemma signs_optimal : lim_BDS_optimal (P := signs) (e 0).
Proof.
  apply (optimal_if signs _ 0 0).
  - apply e_simplex. simpl. lia.
  - exact signs_A3.
  - intros theta. rewrite F_e by (simpl; lia). left. apply log_loss_pos.
  - apply L_val_nonneg.
  - intros eps Heps. exists (row (/ eps)). rewrite F_e by (simpl; lia).
    destruct (signs_loss 0 eps Heps eq_refl). lra.
Qed.

(* A2 does not hold, in the limit either: log(1 + exp(-u)), log(1 + exp(u)) are not both small. *)
Example signs_not_A2 : ~ lim_A2 (P := signs).
Proof.
  intros H. assert (Hln2 := ln_lt_2). destruct (H (1 / 8)) as [theta Htheta]; [lra|].
  assert (H0 := Htheta 0%nat ltac:(simpl; lia) (row 8)).
  assert (H1 := Htheta 1%nat ltac:(simpl; lia) (row (- 8))). clear Htheta.
  assert (Hfar := log_loss_small (1 / 8) 8 ltac:(lra) ltac:(lra)).
  simpl in H0, H1. unfold dot, row, centre in H0, H1. simpl in H0, H1.
  replace (0 + 1 * 8) with 8 in H0 by lra. replace (0 + -1 * - 8) with 8 in H1 by lra.
  assert (Hboth := both_signs (theta 0%nat)).
  replace (0 + 1 * theta 0%nat) with (theta 0%nat) in H0 by lra.
  replace (0 + -1 * theta 0%nat) with (- theta 0%nat) in H1 by lra. lra.
Qed.

(* (i) Everything that C03_logistic asks for, together. *)
Example signs_hypotheses :
  separable 1 1 (fun _ => row 1) /\ A1 (P := signs) /\ lim_A3 (P := signs) /\
  lim_BDS_optimal (P := signs) (e 0) /\ ~ lim_useful (P := signs) 1.
Proof.
  split; [exact signs_separable|split; [exact signs_A1|split; [exact signs_A3|]]].
  split; [exact signs_optimal|]. apply C03_certificate_useless with (row 1).
  - exact signs_separable.
  - exact signs_A1.
  - lia.
  - exact signs_certificate.
Qed.

(* (ii) The bound with a ridge. *)
Definition eighths (i : nat) : R := match i with 0%nat => 7 / 8 | _ => 1 / 8 end.
Definition slope : R := / (1 + exp 1).
Definition ridge : R := 7 / 8 * slope - 1 / 8 * (1 - slope).

Lemma ridge_pos : 0 < ridge.
Proof.
  assert (H3 := exp_le_3). assert (Hpos := exp_pos 1). unfold ridge.
  enough (1 / 4 <= slope) by lra. unfold slope. replace (1 / 4) with (/ 4) by lra.
  apply Rinv_le_contravar; lra.
Qed.

Lemma signs_F : forall w theta, F (P := signs) w theta =
  w 0%nat * log_loss (theta 0%nat) + w 1%nat * log_loss (- theta 0%nat).
Proof.
  intros w theta. unfold F. simpl. unfold dot, row, centre. simpl.
  replace (0 + 1 * theta 0%nat) with (theta 0%nat) by lra.
  replace (0 + -1 * theta 0%nat) with (- theta 0%nat) by lra. lra.
Qed.

Example signs_ridge : 0 <= ridge /\ simplex (P := signs) eighths /\
  minimiser (P := signs)
    (F_ridge 1 2 1 (fun i => row (centre i)) (fun _ => row 1) ridge eighths) (row 1) /\
  sum 1 (fun j => row 1 j * dot 1 (row 1) (row 1)) = 1 /\ eighths 1 <= ln 2.
Proof.
  assert (Hridge := ridge_pos).
  assert (Hsimplex : simplex (P := signs) eighths).
  { split; [|simpl; lra]. intros [|i] _; unfold eighths; lra. }
  assert (Hmin : minimiser (P := signs)
    (F_ridge 1 2 1 (fun i => row (centre i)) (fun _ => row 1) ridge eighths) (row 1)).
  { intros theta. unfold F_ridge. fold signs. rewrite !signs_F. unfold dot. simpl sum.
    unfold row at 1 2 3 4. set (u := theta 0%nat). unfold eighths.
    assert (Hone : exp (- (1)) / (1 + exp (- (1))) = slope).
    { assert (Hpos := exp_pos 1). unfold slope. rewrite exp_Ropp. field. lra. }
    assert (Htwo : exp (- - (1)) / (1 + exp (- - (1))) = 1 - slope).
    { assert (Hpos := exp_pos 1). unfold slope. rewrite Ropp_involutive. field. lra. }
    assert (H0 := log_loss_tangent u (1)). rewrite Hone in H0.
    assert (H1 := log_loss_tangent (- u) (- (1))). rewrite Htwo in H1.
    assert (Hsq := pow2_ge_0 (u - 1)).
    assert (Hrsq : 0 <= ridge * (u - 1) ^ 2) by (apply Rmult_le_pos; lra).
    unfold ridge in *. simpl in Hrsq. lra. }
  assert (Hsum : sum 1 (fun j => row 1 j * dot 1 (row 1) (row 1)) = 1).
  { unfold dot, row. simpl. lra. }
  split; [lra|split; [exact Hsimplex|split; [exact Hmin|split; [exact Hsum|]]]].
  replace (ln 2) with (ln 2 / sum 1 (fun j => row 1 j * dot 1 (row 1) (row 1)))
    by (rewrite Hsum; field).
  apply (C03_bound_ridge 1 2 1 (fun i => row (centre i)) (fun _ => row 1) ridge);
    [lra|exact Hsimplex|lia|exact signs_certificate|exact Hmin|lra].
Qed.

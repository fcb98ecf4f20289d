(* C16, few samples suffice: one under A2.

   Stated: (i) A2: the models that BDS may choose are the union of the S_i, so one sample gives each
   of them; V_BDS is the infimum of L_val over that union, and min over i of min over S_i of L_val,
   attained or not. (ii) A2: where (w, theta) is optimal, so is (e_i, theta) for every i in the
   support of w. (iii) The same through sequences, under lim_A2. (iv) Control without A2: two
   squares, where V_BDS = 0 and every S_i has 1/2.

   Elsewhere: p + 1 samples under A5, in C16_convex.v.

   Not stated: which sample it is. *)

From BDTheory Require Import Base C01 C02 C02_limits Useful.

Section OneSample.
  Context {P : Problem}.

  Definition one_sample_models (theta : Theta) : Prop := exists i, (i < N)%nat /\ S_i i theta.

  (* (i) A2: a model is in some S(w) exactly when it is in some S_i. *)
  Theorem C16_one_model : forall theta, A2 -> (BDS_models theta <-> one_sample_models theta).
  Proof. intros theta HA2. rewrite (C02_models theta HA2). now apply C02_WP. Qed.

  (* (i) A2: V_BDS is the infimum of L_val over the union of the S_i. *)
  Theorem C16_one_value : forall v, A2 -> (V_BDS v <-> value_on one_sample_models v).
  Proof.
    intros v HA2. apply is_inf_bounds. intros b.
    split; intros H r [theta [Hin ->]]; apply H; exists theta; (split; [|reflexivity]);
      now apply C16_one_model.
  Qed.

  (* One of finitely many numbers, n > 0, is the least. *)
  Lemma least : forall n (m : nat -> R), (0 < n)%nat ->
    exists i, (i < n)%nat /\ forall j, (j < n)%nat -> m i <= m j.
  Proof.
    intros n m. induction n as [|n IH]; intros Hn; [lia|].
    destruct (Nat.eq_dec n 0) as [->|Hpos].
    - exists 0%nat. split; [lia|]. intros j Hj. replace j with 0%nat by lia. lra.
    - destruct IH as [i [Hi Hleast]]; [lia|]. destruct (Rle_lt_dec (m i) (m n)) as [Hle|Hlt].
      + exists i. split; [lia|]. intros j Hj.
        destruct (Nat.eq_dec j n) as [->|Hne]; [exact Hle|apply Hleast; lia].
      + exists n. split; [lia|]. intros j Hj.
        destruct (Nat.eq_dec j n) as [->|Hne]; [lra|].
        apply Rle_trans with (m i); [lra|apply Hleast; lia].
  Qed.

  (* (i) A2: V_BDS = min over i of m_i, where m_i is the infimum of L_val over S_i. No infimum need
     be attained. *)
  Theorem C16_least_sample : forall m, A2 -> (0 < N)%nat ->
    (forall i, (i < N)%nat -> value_on (S_i i) (m i)) ->
    exists i, (i < N)%nat /\ V_BDS (m i) /\ forall j, (j < N)%nat -> m i <= m j.
  Proof.
    intros m HA2 HN Hm. destruct (least N m HN) as [i [Hi Hleast]]. exists i.
    split; [exact Hi|split; [|exact Hleast]]. apply C16_one_value; [exact HA2|]. split.
    - intros r [theta [[j [Hj HS]] ->]]. apply Rle_trans with (m j); [now apply Hleast|].
      apply (Hm j Hj). now exists theta.
    - intros b Hb. apply (Hm i Hi). intros r [theta [HS ->]]. apply Hb. exists theta.
      split; [now exists i|reflexivity].
  Qed.

  (* (ii) A2: every sample in the support of an optimal w is enough for the same model. *)
  Theorem C16_any_in_support : forall w theta i, A2 -> BDS_optimal w theta -> support w i ->
    BDS_optimal (e i) theta.
  Proof.
    intros w theta i HA2 [Hw [HS Hbest]] Hi.
    split; [now apply e_simplex, Hi|split; [|exact Hbest]].
    apply S_w_e; [apply Hi|]. now apply (C02_S_w w theta HA2 Hw).
  Qed.

  (* (i) A2: an optimal model, if there is one, needs one sample. *)
  Theorem C16_one_optimal : forall theta, A2 ->
    (best_on BDS_models theta <-> exists i, (i < N)%nat /\ BDS_optimal (e i) theta).
  Proof.
    intros theta HA2. rewrite <- BDS_optimal_best. split.
    - intros [w Hopt]. destruct (support_nonempty w (proj1 Hopt)) as [i Hi]. exists i.
      split; [apply Hi|now apply C16_any_in_support with w].
    - intros [i [_ Hopt]]. now exists (e i).
  Qed.

  (* (iii) lim_A2: what w reaches, every sample in its support reaches alone. *)
  Theorem C16_lim_support : forall w r i, lim_A2 -> simplex w -> support w i ->
    reaches w r -> reaches (e i) r.
  Proof.
    intros w r i HA2 Hw Hi Hr eps Heps. assert (Hpos := proj2 Hi).
    set (d := Rmin eps (eps * w i / 2)). assert (Hl := Rmin_l eps (eps * w i / 2)).
    assert (Hm := Rmin_r eps (eps * w i / 2)). fold d in Hl, Hm.
    assert (Hd : 0 < d) by (apply Rmin_pos; nra).
    destruct (HA2 d Hd) as [star Hstar]. destruct (Hr d Hd) as [theta [Hnear Hval]].
    exists theta. split; [|lra]. apply near_e; [apply Hi|].
    apply near_mono with ((d + d) / w i).
    - apply Rmult_le_reg_r with (w i); [exact Hpos|].
      replace ((d + d) / w i * w i) with (d + d) by (field; lra). lra.
    - now apply near_support with star.
  Qed.

  (* (iii) lim_A2: V_BDS is the least L_val that single samples reach. *)
  Theorem C16_lim_value : forall v, lim_A2 ->
    (lim_V_BDS v <-> is_inf (fun r => exists i, (i < N)%nat /\ reaches (e i) r) v).
  Proof.
    intros v HA2. apply is_inf_bounds. intros b. split; intros H r.
    - intros [i [Hi Hr]]. apply H. exists (e i). split; [now apply e_simplex|exact Hr].
    - intros [w [Hw Hr]]. apply H. destruct (support_nonempty w Hw) as [i Hi]. exists i.
      split; [apply Hi|now apply C16_lim_support with w].
  Qed.
End OneSample.

(* (i) The hypotheses can be met: on the plane of C02.v, V_BDS = 0 from sample 0 alone, and sample 1
   alone has 1/2. *)
Example C16_plane : let P := plane in let m := fun i => if Nat.eqb i 0 then 0 else 1 / 2 in
  A2 /\ (forall i, (i < N)%nat -> value_on (S_i i) (m i)) /\ V_BDS 0.
Proof.
  cbv zeta. set (m := fun i => if Nat.eqb i 0 then 0 else 1 / 2).
  assert (HA2 := plane_A2).
  assert (Hm : forall i, (i < 2)%nat -> value_on (P := plane) (S_i i) (m i)).
  { intros i Hi. unfold m. destruct (two i Hi) as [->| ->]; split.
    - intros r [[a b] [_ ->]]. simpl. assert (H := pow2_ge_0 a). simpl in H. lra.
    - intros c Hc. apply Hc. exists (0, 0). split; [|simpl; lra].
      intros [a b]. simpl. assert (H := pow2_ge_0 b). simpl in H. lra.
    - intros r [[a b] [HS ->]]. specialize (HS (1, 0)). simpl in HS. simpl.
      assert (H : a = 1) by nra. rewrite H. lra.
    - intros c Hc. apply Hc. exists (1, 0). split; [|simpl; lra].
      intros [a b]. simpl. assert (H := pow2_ge_0 (a - 1)). simpl in H. lra. }
  split; [exact HA2|split; [exact Hm|]].
  destruct (C16_least_sample (P := plane) m HA2 ltac:(simpl; lia) Hm) as [i [Hi [HV Hleast]]].
  specialize (Hleast 0%nat ltac:(simpl; lia)). unfold m in *. simpl in Hleast.
  destruct (Nat.eqb i 0); [exact HV|lra].
Qed.

(* (iv) Control, two squares without A2: w = (1/2, 1/2) gives L_val = 0, every single sample 1/2. *)
Example C16_squares : ~ A2 (P := squares) /\
  BDS_optimal (P := squares) (fun _ => 1 / 2) 0 /\ @L_val squares 0 = 0 /\
  forall theta, one_sample_models (P := squares) theta -> @L_val squares theta = 1 / 2.
Proof.
  destruct squares_no_union as [HA2 [_ [HS _]]].
  split; [exact HA2|split; [split; [|split; [exact HS|]]|split]].
  - split; simpl; intros; lra.
  - intros w' theta' _ _. simpl. nra.
  - simpl. lra.
  - intros theta [i [Hi H]]. specialize (H (centre i)). simpl in *. unfold centre in *.
    destruct (Nat.eqb i 0).
    + assert (Heq : theta = 1) by nra. rewrite Heq. lra.
    + assert (Heq : theta = -1) by nra. rewrite Heq. lra.
Qed.

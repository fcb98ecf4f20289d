(* C02: bilevel data selection (BDS) and bilevel multi-objective optimisation (BMO) have the same
   solutions.

   Stated, under A2: (i) S(w) is the intersection of the S_i over the support of w, WP the union of
   the S_i; (ii) the models that BDS may choose are those that BMO may choose, so the sets of
   optimal models are equal and the values V_BDS and V_BMO are the same number, attained or not.
   Under A3, without A2: (iii) both values are L_val*, and it is attained. Controls: without A2, (i)
   fails for two squares; without A2 and A5, (ii) fails for two wells.

   Elsewhere: losses whose own infima are not attained, in C02_limits.v; A5 without A2, in
   C02_convex.v. *)

From BDTheory Require Import Base C01.

(* Two sets of numbers with the same lower bounds have the same infimum. *)
Lemma is_inf_bounds : forall (E E' : R -> Prop) v,
  (forall b, (forall r, E r -> b <= r) <-> (forall r, E' r -> b <= r)) ->
  (is_inf E v <-> is_inf E' v).
Proof.
  intros E E' v H. split; intros [Hlow Hgreatest];
    (split; [apply H, Hlow|intros b Hb; apply Hgreatest, H, Hb]).
Qed.

Section Attained.
  Context {P : Problem}.

  (* The core. Where star fits every sample to within d, a theta within eps of the infimum of F_w
     fits each sample of the support of w to within (d + eps) / w_i. *)
  Lemma near_support : forall w star theta d eps i,
    simplex w -> support w i -> (forall j, (j < N)%nat -> near (l j) d star) ->
    near (F w) eps theta -> near (l i) ((d + eps) / w i) theta.
  Proof.
    intros w star theta d eps i Hw [Hi Hpos] Hstar Hnear theta'.
    assert (Hgap : w i * (l i theta - l i star + d) <= eps + d).
    { apply Rle_trans with (sum N (fun j => w j * (l j theta - l j star + d))).
      - apply (sum_term N (fun j => w j * (l j theta - l j star + d))); [|exact Hi]. intros j Hj.
        specialize (Hstar j Hj theta). apply Rmult_le_pos; [now apply (proj1 Hw)|lra].
      - rewrite (sum_ext N _ (fun j => w j * (l j theta - l j star) + w j * d)) by (intros; lra).
        rewrite sum_plus, F_diff, (mean_const w d Hw). specialize (Hnear star). lra. }
    assert (Hdiv : (d + eps) / w i * w i = d + eps) by (field; lra).
    assert (Hfit : l i theta - l i star + d <= (d + eps) / w i)
      by (apply Rmult_le_reg_r with (w i); lra).
    specialize (Hstar i Hi theta'). lra.
  Qed.

  (* (i) Under A2, S(w) is the intersection of the S_i over the support of w. *)
  Theorem C02_S_w : forall w theta, A2 -> simplex w ->
    (S_w w theta <-> forall i, support w i -> S_i i theta).
  Proof.
    intros w theta [star Hstar] Hw. split.
    - intros HS i Hi. apply minimiser_near.
      replace 0 with ((0 + 0) / w i) by (destruct Hi; field; lra).
      apply near_support with star; try assumption.
      + intros j Hj. now apply minimiser_near, Hstar.
      + now apply minimiser_near.
    - intros H theta'. apply sum_le. intros i Hi. destruct Hw as [Hw _]. specialize (Hw i Hi).
      destruct (Req_dec (w i) 0) as [-> |Hne]; [lra|].
      apply Rmult_le_compat_l; [exact Hw|]. apply H. split; [exact Hi|lra].
  Qed.

  (* (i) Under A2, WP is the union of the S_i. *)
  Theorem C02_WP : forall theta, A2 -> (WP theta <-> exists i, (i < N)%nat /\ S_i i theta).
  Proof.
    intros theta [star Hstar]. split.
    - intros HWP. apply WP_gap in HWP. destruct (HWP star) as [i [Hi Hle]].
      exists i. split; [exact Hi|]. intros theta'. specialize (Hstar i Hi theta'). lra.
    - intros [i [Hi HS]]. apply C01_forward with (e i); [now apply e_simplex|].
      now apply S_w_e.
  Qed.

  (* (ii) Under A2, BDS and BMO choose from the same models. *)
  Theorem C02_models : forall theta, A2 -> (BDS_models theta <-> WP theta).
  Proof.
    intros theta HA2. split; [apply C01_union|].
    intros HWP. apply C02_WP in HWP; [|exact HA2]. destruct HWP as [i [Hi HS]].
    exists (e i). split; [now apply e_simplex|now apply S_w_e].
  Qed.

  (* (ii) Under A2 BDS and BMO have the same optimal models. *)
  Theorem C02_optimal_models : forall theta, A2 -> (best_on BDS_models theta <-> best_on WP theta).
  Proof.
    intros theta HA2. split; intros [Hin Hbest];
      (split; [now apply C02_models|intros theta' H; apply Hbest; now apply C02_models]).
  Qed.

  (* (ii) Under A2 V_BDS = V_BMO, attained or not. *)
  Theorem C02_values : forall v, A2 -> (V_BDS v <-> V_BMO v).
  Proof.
    intros v HA2. apply is_inf_bounds. intros b.
    split; intros H r [theta [Hin ->]]; apply H; exists theta; (split; [|reflexivity]);
      now apply C02_models.
  Qed.

  (* best_on BDS_models is what BDS optimises over pairs (w, theta). *)
  Lemma BDS_optimal_best : forall theta,
    (exists w, BDS_optimal w theta) <-> best_on BDS_models theta.
  Proof.
    intros theta. split.
    - intros [w [Hw [HS H]]]. split; [now exists w|]. intros theta' [w' [Hw' HS']].
      now apply (H w').
    - intros [[w [Hw HS]] H]. exists w. split; [exact Hw|split; [exact HS|]].
      intros w' theta' Hw' HS'. apply H. now exists w'.
  Qed.

  (* (iii) Under A3 the optimal models of both are their models in S_val. *)
  Theorem C02_optimal_A3 : forall theta, A3 ->
    (best_on BDS_models theta <-> BDS_models theta /\ S_val theta) /\
    (best_on WP theta <-> WP theta /\ S_val theta).
  Proof.
    intros theta [i [Hi [good [HS Hval]]]].
    assert (HBDS : BDS_models good) by (exists (e i); split; [now apply e_simplex|now apply S_w_e]).
    assert (HWP := C01_union good HBDS).
    split; (split; intros [Hin H]; split; try exact Hin).
    - intros theta'. apply Rle_trans with (L_val good); auto.
    - intros theta' _. apply H.
    - intros theta'. apply Rle_trans with (L_val good); auto.
    - intros theta' _. apply H.
  Qed.

  (* (iii) Under A3 both values are L_val*, and one model attains both. *)
  Theorem C02_values_A3 : A3 ->
    (forall v, V_BDS v <-> L_val_star v) /\ (forall v, V_BMO v <-> L_val_star v) /\
    exists theta, best_on BDS_models theta /\ best_on WP theta /\ S_val theta.
  Proof.
    intros HA3. assert (HA3' := HA3). destruct HA3' as [i [Hi [good [HS Hval]]]].
    assert (HBDS : BDS_models good) by (exists (e i); split; [now apply e_simplex|now apply S_w_e]).
    assert (HWP := C01_union good HBDS).
    assert (Hvalue : forall (A : Theta -> Prop) v, A good -> (value_on A v <-> L_val_star v)).
    { intros A v HA. apply is_inf_bounds. intros b. split; intros H r [theta [Hin ->]].
      - apply Rle_trans with (L_val good); [apply H; now exists good|apply Hval].
      - apply H. now exists theta. }
    split; [intros v; now apply Hvalue|split; [intros v; now apply Hvalue|]].
    exists good. split; [|split; [|exact Hval]]; now apply C02_optimal_A3.
  Qed.
End Attained.

(* The hypotheses can be met -------------------------------------------------------------------- *)

(* A plane: validation sees theta_1 only and wants 0, sample 0 sees theta_2 only and wants 0,
   sample 1 sees theta_1 only and wants 1. *)
Definition plane : Problem :=
  {| Theta := R * R; N := 2;
     l := fun i theta => if Nat.eqb i 0 then snd theta ^ 2 / 2 else (fst theta - 1) ^ 2 / 2;
     L_val := fun theta => fst theta ^ 2 / 2 |}.

Example plane_A2 : A2 (P := plane).
Proof.
  exists (1, 0). intros [|i] _ [a b]; simpl; [assert (H := pow2_ge_0 b)|
    assert (H := pow2_ge_0 (a - 1))]; lra.
Qed.

Example plane_A3 : A3 (P := plane).
Proof.
  exists 0%nat. split; [simpl; lia|]. exists (0, 0). split; intros [a b]; simpl; nra.
Qed.

(* Controls ------------------------------------------------------------------------------------- *)

(* Two squares, A2 dropped: 0 is in WP and in S(1/2, 1/2), and in no S_i. *)
Example squares_no_union : ~ A2 (P := squares) /\ WP (P := squares) 0 /\
  S_w (P := squares) (fun _ => 1 / 2) 0 /\ forall i, (i < 2)%nat -> ~ S_i (P := squares) i 0.
Proof.
  split; [|split; [apply squares_WP|split]].
  - intros [star H]. assert (H0 := H 0%nat ltac:(simpl; lia) 1).
    assert (H1 := H 1%nat ltac:(simpl; lia) (-1)). unfold squares, centre in *. simpl in *. nra.
  - intros theta. unfold F. simpl. unfold centre. simpl. nra.
  - intros i Hi H. specialize (H (centre i)). unfold centre in H. simpl in H.
    unfold centre in H. destruct (Nat.eqb i 0); nra.
Qed.

(* Two wells, A5 and A2 dropped: V_BMO = 0, attained at 0, while every model of BDS has
   L_val >= 1/400. (V_BDS is .458; 1/400 is what the crudest estimate gives.) *)
Example wells_BMO : best_on (P := wells) WP 0 /\ @L_val wells 0 = 0.
Proof.
  split; [split; [exact wells_WP|]|simpl; lra].
  intros theta _. simpl. nra.
Qed.

Example wells_BDS : forall theta, BDS_models (P := wells) theta -> 1 / 400 <= @L_val wells theta.
Proof.
  intros theta [w [[Hw Hsum] HS]]. simpl in Hw, Hsum, theta. apply Rnot_lt_le. intros Hlt.
  simpl in Hlt. assert (Hw0 := Hw 0%nat ltac:(lia)). assert (Hw1 := Hw 1%nat ltac:(lia)).
  assert (Hright := HS 1). assert (Hleft := HS (-1)). clear HS. rewrite !F_wells in Hright, Hleft.
  (* Near 0 both losses are above 1/2, as (1 - 1/14)^2 > 21/25 and exp(21/25) > 2. *)
  assert (Hbig : exp (- (21 / 25)) < 1 / 2).
  { assert (H := exp_ineq1 (21 / 50) ltac:(lra)).
    assert (H2 : exp (21 / 25) = exp (21 / 50) * exp (21 / 50))
      by (rewrite <- exp_plus; f_equal; lra).
    assert (2 < exp (21 / 25)) by nra.
    rewrite exp_Ropp. replace (1 / 2) with (/ 2) by lra. apply Rinv_lt_contravar; lra. }
  assert (Hnear : -1 / 14 < theta < 1 / 14) by (split; nra).
  assert (H0 : 1 / 2 < @l wells 0 theta).
  { rewrite (well 0 theta ((theta - 1) ^ 2)) by (unfold centre; simpl; lra).
    assert (exp (- (theta - 1) ^ 2) <= exp (- (21 / 25))) by (apply exp_le_compat; nra). lra. }
  assert (H1 : 1 / 2 < @l wells 1 theta).
  { rewrite (well 1 theta ((theta + 1) ^ 2)) by (unfold centre; simpl; lra).
    assert (exp (- (theta + 1) ^ 2) <= exp (- (21 / 25))) by (apply exp_le_compat; nra). lra. }
  rewrite (well 0 1 0), (well 1 1 4) in Hright by (unfold centre; simpl; lra).
  rewrite (well 0 (-1) 4), (well 1 (-1) 0) in Hleft by (unfold centre; simpl; lra).
  rewrite Ropp_0, exp_0 in Hright, Hleft. assert (H4 := exp_pos (Ropp 4)).
  destruct (Rle_lt_dec (w 0%nat) (1 / 2)); nra.
Qed.

(* C03 (a): useless samples get zero weight, for losses that can be fitted together.

   Stated: (i) under A2 and A3 every BDS-optimal w vanishes off U. (ii) The same where no infimum
   is attained: with lim_A2, lim_A3, and usefulness through sequences that serve both l_i and L_val.
   (iii) Controls: without A2, three squares on a line have optimal weights (1/4, 1/4, 1/2) with
   half their mass on useless samples, whose gradients cancel; without A3 every weight is on a
   useless sample.

   Part (b), the logistic loss without A2, is in C03_logistic.v.

   In (i) "optimal" means that the best model of S(w) attains V_BDS. If L_val only approaches
   V_BDS on S(w), then (ii) is the statement that applies. Neither is about methods that find w,
   nor about mu > 0. *)

From BDTheory Require Import Base C01 C02 C02_limits.

Section C03.
  Context {P : Problem}.

  (* (i) Under A2, A3 every BDS-optimal w vanishes off U. *)
  Theorem C03_zero_weight : forall w theta i, A2 -> A3 -> BDS_optimal w theta ->
    (i < N)%nat -> ~ U i -> w i = 0.
  Proof.
    intros w theta i HA2 HA3 Hopt Hi Huseless.
    assert (Hval : S_val theta).
    { apply (proj1 (C02_optimal_A3 theta HA3)), BDS_optimal_best. now exists w. }
    destruct Hopt as [Hw [HS _]]. destruct (proj1 Hw i Hi) as [Hpos|Hzero]; [|now symmetry].
    exfalso. apply Huseless. split; [exact Hi|]. exists theta. split; [|exact Hval].
    apply (proj1 (C02_S_w w theta HA2 Hw) HS). now split.
  Qed.

  (* (ii) The same where infima are not attained. *)
  Theorem C03_zero_weight_lim : forall w i, lim_A2 -> lim_A3 -> lim_BDS_optimal w ->
    (i < N)%nat -> ~ lim_useful i -> w i = 0.
  Proof.
    intros w i HA2 HA3 [Hw [v [HV Hv]]] Hi Huseless.
    apply (proj1 (C02_lim_values_A3 HA3)) in HV. destruct HV as [Hlow _].
    destruct (proj1 Hw i Hi) as [Hpos|Hzero]; [|now symmetry].
    exfalso. apply Huseless. intros eps Heps.
    (* w_i <= 1, so a gap of w_i eps / 2 leaves l_i within eps of its infimum. *)
    assert (Hone : w i <= 1).
    { rewrite <- (proj2 Hw). apply sum_term; [apply Hw|exact Hi]. }
    set (d := w i * eps / 2).
    assert (Hd : 0 < d) by (unfold d; nra). assert (Hdeps : d <= eps) by (unfold d; nra).
    destruct (HA2 d Hd) as [star Hstar]. destruct (Hv d Hd) as [theta [Hnear Hval]].
    exists theta. split.
    - replace eps with ((d + d) / w i) by (unfold d; field; lra).
      apply near_support with star; try assumption. now split.
    - intros theta'. assert (v <= L_val theta') by (apply Hlow; now exists theta'). lra.
  Qed.
End C03.

(* The hypotheses can be met, and the conclusion says something: sample 1 is useless (A4) ------- *)

Example plane_optimal : BDS_optimal (P := plane) (e 0) (0, 0).
Proof.
  split; [apply e_simplex; simpl; lia|split].
  - apply S_w_e; [simpl; lia|]. intros [a b]. simpl. nra.
  - intros w [a b] _ _. simpl. nra.
Qed.

Example plane_useless : A4 (P := plane).
Proof.
  exists 1%nat. split; [simpl; lia|]. intros [[a b] [HS Hval]].
  specialize (HS (1, b)). specialize (Hval (0, b)). simpl in *. nra.
Qed.

(* The same where nothing is attained: exp(theta_1) and exp(-theta_1) are not both small. *)
Example slopes_useless : ~ lim_useful (P := slopes) 1.
Proof.
  intros Huse. destruct (Huse (1 / 4)) as [[a b] [Hl Hval]]; [lra|].
  specialize (Hl (- / (1 / 4), b)). specialize (Hval (/ (1 / 4), b)). simpl in Hl, Hval.
  assert (Hsmall := exp_small (1 / 4) ltac:(lra)).
  assert (Hprod : exp a * exp (- a) = 1)
    by (rewrite <- exp_plus, Rplus_opp_r; apply exp_0).
  assert (Ha := exp_pos a). assert (Ha' := exp_pos (- a)). nra.
Qed.

Example slopes_optimal : lim_BDS_optimal (P := slopes) (e 0).
Proof.
  split; [apply e_simplex; simpl; lia|]. exists 0. split.
  - apply C02_lim_values_A3; [exact slopes_A3|]. split.
    + intros r [theta [_ ->]]. left. apply exp_pos.
    + intros b Hb. apply le_epsilon. intros eps Heps.
      assert (H : b <= exp (- / eps)) by (apply Hb; now exists (/ eps, 0)).
      assert (Hsmall := exp_small eps Heps). lra.
  - intros eps Heps. exists (/ eps, / eps). assert (Hsmall := exp_small eps Heps).
    split; [|simpl; lra].
    apply near_e; [simpl; lia|]. intros theta. simpl. assert (H := exp_pos (- snd theta)). lra.
Qed.

(* (iii) Control: without A2 -------------------------------------------------------------------- *)

(* Squared loss on a line, validation target 0, training targets 1, -1, 0. *)
Definition target (i : nat) : R := match i with 0%nat => 1 | 1%nat => -1 | _ => 0 end.
Definition line : Problem :=
  {| Theta := R; N := 3;
     l := fun i theta => (theta - target i) ^ 2 / 2;
     L_val := fun theta => theta ^ 2 / 2 |}.

(* w = (1/4, 1/4, 1/2). *)
Definition quarters (i : nat) : R := match i with 2%nat => 1 / 2 | _ => 1 / 4 end.

Lemma quarters_simplex : simplex (P := line) quarters.
Proof.
  split; [|simpl; lra]. intros i _. unfold quarters. destruct i as [|[|[|i]]]; lra.
Qed.

(* A square is least at its centre, and nowhere else. *)
Lemma square_least : forall c theta : R,
  (forall theta', (theta - c) ^ 2 / 2 <= (theta' - c) ^ 2 / 2) <-> theta = c.
Proof.
  intros c theta. split.
  - intros H. specialize (H c). assert (Hsq := pow2_ge_0 (theta - c)).
    assert (Hzero : (theta - c) ^ 2 = 0) by lra.
    destruct (Req_dec (theta - c) 0) as [|Hne]; [lra|].
    exfalso. now apply (pow_nonzero _ 2 Hne).
  - intros -> theta'. assert (Hsq := pow2_ge_0 (theta' - c)). simpl in *. lra.
Qed.

Lemma line_S_i : forall i theta, S_i (P := line) i theta <-> theta = target i.
Proof. intros i theta. exact (square_least (target i) theta). Qed.

Lemma line_S_val : forall theta, S_val (P := line) theta <-> theta = 0.
Proof.
  intros theta. rewrite <- (square_least 0 theta). unfold S_val, minimiser. simpl.
  split; intros H theta'; specialize (H theta'); lra.
Qed.

(* F_w(theta) = theta^2 / 2 + 1/4, so S(w) = {0}. *)
Lemma line_S_w : forall theta, S_w (P := line) quarters theta <-> theta = 0.
Proof.
  intros theta. rewrite <- line_S_val. unfold S_w, S_val, minimiser, F. simpl.
  split; intros H theta'; specialize (H theta'); lra.
Qed.

(* A3 holds, A2 does not; samples 0 and 1 are useless, and sample 2 is useful. *)
Example line_samples : A3 (P := line) /\ ~ A2 (P := line) /\
  ~ useful (P := line) 0 /\ ~ useful (P := line) 1 /\ useful (P := line) 2.
Proof.
  assert (Huse : forall i, useful (P := line) i -> target i = 0).
  { intros i [theta [HS Hval]]. apply line_S_i in HS. apply line_S_val in Hval. congruence. }
  assert (H2 : useful (P := line) 2).
  { exists 0. split; [now apply line_S_i|now apply line_S_val]. }
  split; [exists 2%nat; split; [simpl; lia|exact H2]|split; [|split; [|split; [|exact H2]]]].
  - intros [theta H]. assert (H0 := H 0%nat ltac:(simpl; lia)).
    assert (H1 := H 1%nat ltac:(simpl; lia)). apply line_S_i in H0, H1. simpl in H0, H1. lra.
  - intros H. apply Huse in H. simpl in H. lra.
  - intros H. apply Huse in H. simpl in H. lra.
Qed.

(* A3 without A2: w = (1/4, 1/4, 1/2) is optimal, attains V_BDS = L_val* = 0, and has half its mass
   on useless samples: 1/4 on each of them. *)
Theorem C03_control_A2 : A3 (P := line) /\ ~ A2 (P := line) /\
  BDS_optimal (P := line) quarters 0 /\ V_BDS (P := line) 0 /\ L_val_star (P := line) 0 /\
  (forall i, (i < 3)%nat -> ~ useful (P := line) i -> quarters i = 1 / 4) /\
  quarters 0 + quarters 1 = 1 / 2.
Proof.
  destruct line_samples as [HA3 [HA2 [_ [_ H2]]]]. split; [exact HA3|split; [exact HA2|]].
  assert (Hstar : L_val_star (P := line) 0).
  { split; [intros r [theta [_ ->]]; simpl; assert (H := pow2_ge_0 theta); simpl in H; lra|].
    intros b Hb. apply Hb. exists 0. split; [exact I|simpl; lra]. }
  split; [|split; [now apply (C02_values_A3 HA3)|split; [exact Hstar|split]]].
  - split; [exact quarters_simplex|split; [now apply line_S_w|]].
    intros w theta _ _. now apply line_S_val.
  - intros [|[|[|i]]] Hi Huseless; unfold quarters; try lra. contradiction.
  - unfold quarters. lra.
Qed.

(* Control: without A3. Every weight of any problem without useful samples is on useless ones. *)
Theorem C03_control_A3 : forall (P : Problem) w, ~ A3 -> simplex w ->
  exists i, support w i /\ ~ U i.
Proof.
  intros P w HA3 Hw. destruct (support_nonempty w Hw) as [i Hi].
  exists i. split; [exact Hi|]. intros HU. apply HA3. now exists i.
Qed.

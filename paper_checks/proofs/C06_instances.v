(* C06(a), controls, and instances that meet the hypotheses.

   Stated: (i) C03's targets 1, -1, 0 on a line, A1 and A3 without A2: at w = (1/4, 1/4, 1/2) and
   theta = 0 the penalty is 0 with v kept, so it is a minimiser, and gamma / 4 without v; the
   support of w is not jointly useful. (ii) Validation target 0, one training target 1, A1 without
   A3: V_BDS - min P_gamma = 1 / (2 (1 + gamma)), with v kept or dropped. (iii) Exponentials in the
   plane: A1, lim_A3, and a sequence along which P_gamma -> L_val*, where nothing is attained.

   Not stated: controls for the gradient (b). *)

From BDTheory Require Import Base C02 C02_limits C03 Useful C05 C06.

(* (i) v kept, without A2 ---------------------------------------------------------------------- *)

Lemma line_A1 : A1 (P := line).
Proof.
  intros i Hi. split.
  - intros r [theta ->]. simpl. assert (H := pow2_ge_0 (theta - target i)). simpl in H. lra.
  - intros b Hb. apply Hb. exists (target i). simpl. lra.
Qed.

Example C06_kept : let P := line in
  A1 /\ A3 /\ (exists v, value_function v) /\ L_val_star 0 /\
  simplex quarters /\ ~ jointly_useful (support quarters) /\
  forall v gamma, value_function v ->
    P_gamma v gamma quarters 0 = 0 /\ P_gamma dropped gamma quarters 0 = gamma / 4.
Proof.
  cbv zeta. destruct C03_control_A2 as [HA3 [_ [_ [_ [Hstar _]]]]].
  destruct line_samples as [_ [_ [Huseless _]]].
  split; [exact line_A1|split; [exact HA3|split; [|split; [exact Hstar|split]]]].
  - exact (@value_function_exists line 0 line_A1).
  - exact quarters_simplex.
  - split.
    + intros [theta [Hv HS]]. apply Huseless. exists theta. split; [|exact Hv].
      apply HS. split; [simpl; lia|]. unfold quarters. lra.
    + intros v gamma Hv. destruct (Hv quarters quarters_simplex) as [Hlow Hbest].
      assert (HF : forall theta, @F line quarters theta = theta ^ 2 / 2 + 1 / 4).
      { intros theta. unfold F; simpl. unfold quarters; simpl. lra. }
      assert (HV : v quarters = 1 / 4).
      { apply Rle_antisym.
        - apply Hlow. exists 0. rewrite HF. lra.
        - apply Hbest. intros r [theta ->]. rewrite HF.
          assert (H := pow2_ge_0 theta). lra. }
      unfold P_gamma, dropped. rewrite HV, (HF 0). simpl. split; lra.
Qed.

(* (ii) Without A3 ----------------------------------------------------------------------------- *)

Definition one_target : Problem :=
  {| Theta := R; N := 1;
     l := fun _ theta => (theta - 1) ^ 2 / 2; L_val := fun theta => theta ^ 2 / 2 |}.

Example C06_without_A3 : let P := one_target in
  A1 /\ ~ A3 /\ V_BDS (1 / 2) /\
  forall v gamma, 0 < gamma -> kept_or_dropped v ->
    let least := gamma / (2 * (1 + gamma)) in
    is_inf (fun r => exists w theta, simplex w /\ r = P_gamma v gamma w theta) least /\
    P_gamma v gamma (e 0) (gamma / (1 + gamma)) = least /\
    1 / 2 - least = 1 / (2 * (1 + gamma)).
Proof.
  cbv zeta.
  assert (HA1 : @A1 one_target).
  { intros i Hi. split.
    - intros r [theta ->]. simpl. assert (H := pow2_ge_0 (theta - 1)). simpl in H. lra.
    - intros b Hb. apply Hb. exists 1. simpl. lra. }
  assert (Hfit : forall i theta, @S_i one_target i theta -> theta = 1).
  { intros i theta HS. now apply square_least. }
  (* the simplex is one point *)
  assert (Hone : forall w, @simplex one_target w -> forall i, (i < 1)%nat -> w i = e 0 i).
  { intros w [_ Hsum] i Hi. replace i with 0%nat by lia. unfold e. simpl in *. lra. }
  assert (Hw0 := @e_simplex one_target 0 ltac:(simpl; lia)).
  split; [exact HA1|split; [|split]].
  - intros [i [Hi [theta [HS Hv]]]]. apply Hfit in HS. specialize (Hv 0). simpl in Hv.
    rewrite HS in Hv. lra.
  - split.
    + intros r [theta [[w [Hw HS]] ->]]. enough (theta = 1) as -> by (simpl; lra).
      apply (Hfit 0%nat). apply S_w_e; [simpl; lia|]. intros theta'.
      specialize (HS theta'). unfold F in *. simpl in *. rewrite (Hone w Hw) in HS by lia. exact HS.
    + intros b Hb. apply Hb. exists 1. split; [|simpl; lra]. exists (e 0). split; [exact Hw0|].
      apply S_w_e; [simpl; lia|]. exact (proj2 (square_least 1 1) eq_refl).
  - intros v gamma Hgamma Hv.
    assert (Hvalue : forall theta, @P_gamma one_target v gamma (e 0) theta
                     = gamma / (2 * (1 + gamma))
                       + (1 + gamma) / 2 * (theta - gamma / (1 + gamma)) ^ 2).
    { intros theta. rewrite penalty_corner by (assumption || simpl; lia). simpl. field. lra. }
    split; [|split; [rewrite Hvalue; field; lra|field; lra]]. split.
    + intros r [w [theta [Hw ->]]].
      assert (HF : forall t, @F one_target w t = (t - 1) ^ 2 / 2).
      { intros t. unfold F; simpl. rewrite (Hone w Hw 0%nat) by lia. unfold e; simpl. lra. }
      assert (Hvw : v w <= 0).
      { destruct Hv as [Hv| ->]; [|unfold dropped; lra].
        replace 0 with (@F one_target w 1) by (rewrite HF; lra). apply (Hv w Hw). now exists 1. }
      specialize (Hvalue theta). rewrite penalty_corner in Hvalue by (assumption || simpl; lia).
      assert (0 <= (1 + gamma) / 2 * (theta - gamma / (1 + gamma)) ^ 2).
      { apply Rmult_le_pos; [lra|apply pow2_ge_0]. }
      assert (0 <= gamma * - v w) by (apply Rmult_le_pos; lra).
      unfold P_gamma. rewrite HF. simpl in *. lra.
    + intros b Hb. apply Hb. exists (e 0), (gamma / (1 + gamma)). split; [exact Hw0|].
      rewrite Hvalue. field. lra.
Qed.

(* (iii) Nothing attained ---------------------------------------------------------------------- *)

(* L_val = exp(-a), l_0 = exp(-b): along (k, k), with w_k = e_0, P_gamma = (1 + gamma) exp(-k). *)
Example C06_sequence : let P := slopes in
  A1 /\ lim_A3 /\ L_val_star 0 /\ simplex (e 0) /\
  forall gamma, 0 < gamma -> Un_cv (fun k => P_gamma dropped gamma (e 0) (INR k, INR k)) 0.
Proof.
  cbv zeta. destruct C05_lim_assumptions as [HA1 [_ [HA3 [HV _]]]].
  split; [exact HA1|split; [exact HA3|split; [exact HV|split; [apply e_simplex; simpl; lia|]]]].
  intros gamma Hgamma eps Heps. set (d := eps / (1 + gamma)).
  assert (Hd : d * (1 + gamma) = eps) by (unfold d; field; lra).
  assert (Hdpos : 0 < d) by (apply Rdiv_lt_0_compat; lra).
  destruct (archimed_cor1 d Hdpos) as [K [HKd HK]]. exists K. intros k Hk.
  assert (Hexp : exp (- INR k) < d).
  { assert (H := exp_small (/ INR K) (Rinv_0_lt_compat _ (lt_0_INR K HK))).
    rewrite Rinv_inv in H. apply le_INR in Hk.
    assert (exp (- INR k) <= exp (- INR K)) by (apply exp_le_compat; lra). lra. }
  rewrite penalty_corner by (assumption || (now right) || simpl; lia).
  simpl. unfold R_dist. assert (Hpos := exp_pos (- INR k)).
  rewrite Rabs_right; nra.
Qed.

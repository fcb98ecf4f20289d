(* C02 where the infima of the losses are not attained.

   Stated: (i) under lim_A2, BMO reaches a validation loss exactly when BDS does, so the values
   lim_V_BDS and lim_V_BMO are the same number. (ii) Under lim_A3, without A2, both are L_val*.
   lim_A2 and lim_A3: for every eps one theta is within eps of all infima in question. "Reaches r"
   is: along some sequence with F_w -> v(w), or with G -> 0, liminf L_val <= r.

   (i) uses excluded middle, to choose one sample for all eps; (ii) does not.

   Elsewhere: A5 without A2, which is in C02_convex.v. *)

From Coq Require Import Classical_Prop.
From BDTheory Require Import Base C01 C02.

(* If one of finitely many i serves for every eps, one of them serves for all eps. *)
Lemma pigeonhole : forall n (Q : nat -> R -> Prop),
  (forall i a b, a <= b -> Q i a -> Q i b) ->
  (forall eps, 0 < eps -> exists i, (i < n)%nat /\ Q i eps) ->
  exists i, (i < n)%nat /\ forall eps, 0 < eps -> Q i eps.
Proof.
  induction n as [|n IH]; intros Q Hmono H; [destruct (H 1) as [i [Hi _]]; [lra|lia]|].
  destruct (classic (exists eps, 0 < eps /\ ~ Q n eps)) as [[eps0 [Hpos Hnot]]|Hall].
  - destruct (IH Q Hmono) as [i [Hi HQ]]; [|exists i; auto with arith].
    intros eps Heps. destruct (H (Rmin eps eps0)) as [i [Hi HQ]]; [now apply Rmin_pos|].
    assert (Hl := Rmin_l eps eps0). assert (Hr := Rmin_r eps eps0). exists i.
    split; [|now apply (Hmono i (Rmin eps eps0))]. destruct (Nat.eq_dec i n) as [->|Hne]; [|lia].
    exfalso. apply Hnot. now apply (Hmono n (Rmin eps eps0)).
  - exists n. split; [lia|]. intros eps Heps.
    destruct (classic (Q n eps)) as [HQ|Hnot]; [exact HQ|]. exfalso. apply Hall. now exists eps.
Qed.

Section Limits.
  Context {P : Problem}.

  Lemma near_mono : forall f a b theta, a <= b -> near f a theta -> near f b theta.
  Proof. intros f a b theta Hab H theta'. specialize (H theta'). lra. Qed.

  (* Under lim_A2, BMO reaches r exactly when BDS does, and then with a single sample. *)
  Theorem C02_lim_reaches : forall r, lim_A2 ->
    (WP_reaches r <-> exists w, simplex w /\ reaches w r).
  Proof.
    intros r HA2. split; [|intros [w [Hw Hr]]; now apply C01_reaches with w].
    intros Hr.
    destruct (pigeonhole N (fun i eps => exists theta,
      near (l i) eps theta /\ L_val theta <= r + eps)) as [i [Hi H]].
    - intros i a b Hab [theta [Hnear Hval]]. exists theta. split; [|lra].
      now apply near_mono with a.
    - intros eps Heps. destruct (Hr (eps / 2)) as [theta [HG Hval]]; [lra|].
      destruct (HA2 (eps / 2)) as [star Hstar]; [lra|]. destruct (HG star) as [i [Hi Hle]].
      exists i. split; [exact Hi|]. exists theta. split; [|lra].
      intros theta'. specialize (Hstar i Hi theta'). lra.
    - exists (e i). split; [now apply e_simplex|]. intros eps Heps.
      destruct (H eps Heps) as [theta [Hnear Hval]]. exists theta. split; [|exact Hval].
      now apply near_e.
  Qed.

  (* Under lim_A2 the values are equal. *)
  Corollary C02_lim_values : forall v, lim_A2 -> (lim_V_BDS v <-> lim_V_BMO v).
  Proof.
    intros v HA2. apply is_inf_bounds. intros b. split; intros H r Hr; apply H;
      now apply C02_lim_reaches.
  Qed.

  (* A limit-useful sample alone reaches every value of L_val. *)
  Lemma useful_reaches : forall i theta, (i < N)%nat -> lim_useful i -> reaches (e i) (L_val theta).
  Proof.
    intros i theta Hi Huse eps Heps. destruct (Huse eps Heps) as [good [Hnear Hval]].
    exists good. split; [now apply near_e|apply Hval].
  Qed.

  (* Under lim_A3 both values are L_val*, without A2. *)
  Theorem C02_lim_values_A3 : lim_A3 ->
    (forall v, lim_V_BDS v <-> L_val_star v) /\ (forall v, lim_V_BMO v <-> L_val_star v).
  Proof.
    intros [i [Hi Huse]].
    assert (Hlow : forall b r, (forall s, (exists theta, True /\ s = L_val theta) -> b <= s) ->
      (forall eps, 0 < eps -> exists theta, L_val theta <= r + eps) -> b <= r).
    { intros b r Hb Hr. apply le_epsilon. intros eps Heps. destruct (Hr eps Heps) as [theta H].
      assert (b <= L_val theta) by (apply Hb; now exists theta). lra. }
    split; intros v; apply is_inf_bounds; intros b; split; intros H r.
    - intros [theta [_ ->]]. apply H. exists (e i).
      split; [now apply e_simplex|now apply useful_reaches].
    - intros [w [Hw Hr]]. apply Hlow; [exact H|]. intros eps Heps.
      destruct (Hr eps Heps) as [theta [_ Hval]]. now exists theta.
    - intros [theta [_ ->]]. apply H. apply C01_reaches with (e i);
        [now apply e_simplex|now apply useful_reaches].
    - intros Hr. apply Hlow; [exact H|]. intros eps Heps.
      destruct (Hr eps Heps) as [theta [_ Hval]]. now exists theta.
  Qed.
End Limits.

(* w is optimal if along one sequence it has the least F_w and the least L_val. *)
Lemma optimal_if : forall (P : Problem) w (Fmin v : R), simplex w -> lim_A3 ->
  (forall theta, Fmin <= F w theta) -> (forall theta, v <= L_val theta) ->
  (forall eps, 0 < eps -> exists theta, F w theta <= Fmin + eps /\ L_val theta <= v + eps) ->
  lim_BDS_optimal w.
Proof.
  intros P w Fmin v Hw HA3 HF HL Hseq. split; [exact Hw|]. exists v. split.
  - apply (proj1 (C02_lim_values_A3 HA3)). split.
    + intros r [theta [_ ->]]. apply HL.
    + intros b Hb. apply le_epsilon. intros eps Heps. destruct (Hseq eps Heps) as [theta [_ H]].
      assert (b <= L_val theta) by (apply Hb; now exists theta). lra.
  - intros eps Heps. destruct (Hseq eps Heps) as [theta [HFeps HLeps]]. exists theta.
    split; [|exact HLeps]. intros theta'. specialize (HF theta'). lra.
Qed.

(* A sample is useful if along one sequence it and L_val have their least values. *)
Lemma useful_if : forall (P : Problem) i (lmin v : R),
  (forall theta, lmin <= l i theta) -> (forall theta, v <= L_val theta) ->
  (forall eps, 0 < eps -> exists theta, l i theta <= lmin + eps /\ L_val theta <= v + eps) ->
  lim_useful i.
Proof.
  intros P i lmin v Hl HL Hseq eps Heps. destruct (Hseq eps Heps) as [theta [H1 H2]]. exists theta.
  split; intros theta'; [specialize (Hl theta')|specialize (HL theta')]; lra.
Qed.

(* The hypotheses can be met -------------------------------------------------------------------- *)

(* Exponentials in the plane: no infimum is attained, validation wants theta_1 large, sample 0 wants
   theta_2 large, sample 1 wants theta_1 small. *)
Definition slopes : Problem :=
  {| Theta := R * R; N := 2;
     l := fun i theta => if Nat.eqb i 0 then exp (- snd theta) else exp (fst theta);
     L_val := fun theta => exp (- fst theta) |}.

Example slopes_A2 : lim_A2 (P := slopes) /\ ~ A2 (P := slopes).
Proof.
  split.
  - intros eps Heps. exists (- / eps, / eps).
    assert (Hsmall := exp_small eps Heps). intros [|i] _ theta; simpl.
    + assert (H := exp_pos (- snd theta)). lra.
    + assert (H := exp_pos (fst theta)). lra.
  - intros [star H]. specialize (H 0%nat ltac:(simpl; lia) (0, snd star + 1)). simpl in H.
    assert (exp (- (snd star + 1)) < exp (- snd star)) by (apply exp_increasing; lra). lra.
Qed.

Example slopes_A3 : lim_A3 (P := slopes).
Proof.
  exists 0%nat. split; [simpl; lia|]. intros eps Heps. exists (/ eps, / eps).
  assert (Hsmall := exp_small eps Heps).
  split; intros theta; simpl; [assert (H := exp_pos (- snd theta))|
    assert (H := exp_pos (- fst theta))]; lra.
Qed.

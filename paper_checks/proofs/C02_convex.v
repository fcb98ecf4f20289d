(* C02 under A5 alone, without A2: BDS and BMO have the same solutions.

   Models are vectors of R^p, losses convex and differentiable. Stated: (i) the sets of optimal
   models are equal, and so are the values V_BDS and V_BMO. (ii) Where nothing is attained, for
   losses >= 0: BMO reaches a validation loss exactly when BDS does, with one w for the whole
   sequence, and the values are equal.

   Only convexity of the l_i is used. Control: two wells, in C02.v. *)

From BDTheory Require Import Base C01 C01_converse C01_moving C02 C02_limits.

Section Convex.
  Variables (p n : nat) (loss : nat -> (nat -> R) -> R) (val : (nat -> R) -> R).
  #[local] Hint Extern 0 Problem => exact (vectors n loss val) : typeclass_instances.

  (* (i) Under A5 alone BDS and BMO have the same optimal models. *)
  Theorem C02_optimal_models_A5 : forall theta, A5 p n loss val ->
    (best_on BDS_models theta <-> best_on WP theta).
  Proof.
    intros theta HA5. split; intros [Hin Hbest]; (split; [now apply (C01 p n loss val)|
      intros theta' H; apply Hbest; now apply (C01 p n loss val)]).
  Qed.

  (* (i) Under A5 alone V_BDS = V_BMO, attained or not. *)
  Theorem C02_values_A5 : forall v, A5 p n loss val -> (V_BDS v <-> V_BMO v).
  Proof.
    intros v HA5. apply is_inf_bounds. intros b.
    split; intros H r [theta [Hin ->]]; apply H; exists theta; (split; [|reflexivity]);
      now apply (C01 p n loss val).
  Qed.

  (* (ii) Sequences with G -> 0 and sequences with F_w -> v(w) reach the same validation losses. *)
  Theorem C02_lim_reaches_A5 : forall r, A5 p n loss val ->
    (forall i theta, (i < n)%nat -> 0 <= loss i theta) ->
    (WP_reaches r <-> exists w, simplex w /\ reaches w r).
  Proof.
    intros r [HA5 _] Hl. split; [|intros [w [Hw Hr]]; now apply C01_reaches with w].
    intros Hr. apply limit_weights; [exact Hl|]. intros eps Heps.
    destruct (Hr eps Heps) as [theta [HG Hval]].
    apply C01_identity in HG; [|intros i Hi; now apply HA5]. destruct HG as [w [Hw Hnear]].
    exists w, theta. now split.
  Qed.

  (* (ii) The values are equal. *)
  Corollary C02_lim_values_A5 : forall v, A5 p n loss val ->
    (forall i theta, (i < n)%nat -> 0 <= loss i theta) -> (lim_V_BDS v <-> lim_V_BMO v).
  Proof.
    intros v HA5 Hl. apply is_inf_bounds. intros b. split; intros H r Hr; apply H;
      now apply C02_lim_reaches_A5.
  Qed.
End Convex.

(* The hypotheses can be met, with A2 violated: two squares with different centres. *)
Example parabolas_convex : A5 1 2 (fun i => parabola (centre i)) (parabola 0) /\
  (forall i theta, (i < 2)%nat -> 0 <= parabola (centre i) theta) /\ ~ A2 (P := parabolas).
Proof.
  split; [apply parabolas_A5|split; [intros; apply pow2_ge_0|]].
  intros [theta H]. assert (H0 := H 0%nat ltac:(simpl; lia) (fun _ => 1)).
  assert (H1 := H 1%nat ltac:(simpl; lia) (fun _ => -1)). simpl in H0, H1.
  unfold parabola, centre in H0, H1. simpl in H0, H1. nra.
Qed.

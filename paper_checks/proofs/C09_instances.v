(* C09, the control tau = 0, and instances that meet the hypotheses.

   Stated: (i) control, tau = 0: l = theta^2/2, (theta - 1)^2/2, L_val = theta^2/2, gamma = 1/2. At
   theta = 1/3, w = e_2 the derivative of the explicit problem in theta is 0, and so is its gradient
   in the selector logits, gamma w_i (l_i - F_w), taken from the formula; the implicit problem has
   the derivative 1/2 there, and lower values. (ii) At tau = 1, for C08's pi = (1, 1/2), a
   global minimiser in numbers: w = (2/3, 1/3). (iii) What C09_local.v asks of neighbourhoods and of
   losses, and C09_stationary.v of curves, holds for the real line and the losses of (i).

   Not stated: the minimiser of (i) at tau > 0. *)

From BDTheory Require Import Base Useful C08 C08_instances C09 C09_local C09_stationary Derivatives.

(* (i) tau = 0 --------------------------------------------------------------------------------- *)

Definition two_targets : Problem :=
  {| Theta := R; N := 2;
     l := fun i theta => if Nat.eqb i 0 then theta ^ 2 / 2 else (theta - 1) ^ 2 / 2;
     L_val := fun theta => theta ^ 2 / 2 |}.

(* The implicit problem at tau = 0: smin_0 = min l. *)
Definition implicit_0 (gamma theta : R) : R :=
  @L_val two_targets theta + gamma * Rmin (@l two_targets 0 theta) (@l two_targets 1 theta).

(* (i) At theta = 1/3, w = e_2 = (0, 1) the explicit problem has a zero theta-derivative and a zero
   logit gradient; the implicit one has the derivative 1/2, the value 1/12 < 1/6, and 0 at 0. *)
Example C09_control_tau : let P := two_targets in
  derivable_pt_lim (fun theta : R => explicit (P := P) (1 / 2) 0 (e 1) theta) (1 / 3) 0 /\
  (forall i, (i < 2)%nat -> e 1 i * (@l P i (1 / 3) - F (P := P) (e 1) (1 / 3)) = 0) /\
  explicit (P := P) (1 / 2) 0 (e 1) (1 / 3) = 1 / 6 /\
  derivable_pt_lim (implicit_0 (1 / 2)) (1 / 3) (1 / 2) /\
  implicit_0 (1 / 2) (1 / 3) = 1 / 12 /\ implicit_0 (1 / 2) 0 = 0.
Proof.
  cbv zeta.
  assert (HE : forall theta : R, explicit (P := two_targets) (1 / 2) 0 (e 1) theta
                                 = theta ^ 2 / 2 + 1 / 2 * ((theta - 1) ^ 2 / 2)).
  { intros theta. unfold explicit. rewrite F_e by (simpl; lia). simpl. lra. }
  assert (HI : forall theta, theta <= 1 / 2 -> implicit_0 (1 / 2) theta = 3 / 4 * theta ^ 2).
  { intros theta H. unfold implicit_0. rewrite Rmin_left; simpl; nra. }
  split; [|split; [|split; [|split; [|split]]]].
  - apply quadratic_derivative with (3 / 4) (1 / 6) 1; [lra|]. intros y _. rewrite HE. field.
  - intros i Hi. rewrite F_e by (simpl; lia).
    destruct (two i Hi) as [->| ->]; unfold e; simpl; ring.
  - rewrite HE. field.
  - apply quadratic_derivative with (3 / 4) (1 / 12) (1 / 6); [lra|]. intros y Hy.
    apply Rabs_def2 in Hy. rewrite HI by lra. field.
  - rewrite HI by lra. field.
  - rewrite HI by lra. field.
Qed.

(* (ii) A global minimiser ---------------------------------------------------------------------- *)

(* (ii) pi = (1, 1/2), l = -log pi, one model: w = (2/3, 1/3) minimises the explicit problem at
   tau = 1, for every gamma > 0, and w = (1/2, 1/2) does not. *)
Example C09_two_samples : forall gamma, 0 < gamma ->
  explicit_minimal (P := two_samples) gamma 1 (fun i => if Nat.eqb i 0 then 2 / 3 else 1 / 3) tt /\
  ~ explicit_minimal (P := two_samples) gamma 1 (fun _ => 1 / 2) tt.
Proof.
  intros gamma Hgamma. destruct C08_two_samples as [H0 [H1 _]].
  assert (Hiff := fun w => @C09_minimisers two_samples gamma 1 Hgamma ltac:(lra)
                             ltac:(simpl; lia) w tt).
  split.
  - apply Hiff; [split; [intros i _; destruct (Nat.eqb i 0); lra|simpl; lra]|].
    split; [intros []; lra|]. intros i Hi.
    destruct (two i Hi) as [->| ->]; [now rewrite H0|now rewrite H1].
  - intros H. apply Hiff in H; [|exact (proj1 H)]. destruct H as [_ H].
    specialize (H 0%nat ltac:(simpl; lia)). rewrite H0 in H. lra.
Qed.

(* (iii) Neighbourhoods ------------------------------------------------------------------------- *)

(* Neighbourhoods on the real line: the sets that contain an interval around theta. *)
Definition around (theta : R) (A : R -> Prop) : Prop :=
  exists r, 0 < r /\ forall theta', Rabs (theta' - theta) < r -> A theta'.

(* (iii) They have what is asked of neighbourhoods. *)
Example C09_around : (forall theta, exists A, around theta A) /\
  (forall theta A, around theta A -> A theta) /\
  (forall theta A B, around theta A -> around theta B ->
    exists C, around theta C /\ forall theta', C theta' -> A theta' /\ B theta').
Proof.
  split; [|split].
  - intros theta. exists (fun _ => True). exists 1. split; [lra|easy].
  - intros theta A [r [Hr HA]]. apply HA. rewrite Rminus_eq_0, Rabs_R0. exact Hr.
  - intros theta A B [r [Hr HA]] [s [Hs HB]]. exists (fun theta' => A theta' /\ B theta').
    split; [|easy]. exists (Rmin r s). split; [now apply Rmin_pos|].
    assert (Hl := Rmin_l r s). assert (Hm := Rmin_r r s).
    intros theta' H. split; [apply HA|apply HB]; lra.
Qed.

(* (iii) The two squares are continuous everywhere. *)
Example C09_squares_continuous : forall theta : R,
  continuous_at (P := two_targets) around theta.
Proof.
  assert (Hsq : forall c theta : R,
    continuity_pt (fun theta => (theta - c) ^ 2 / 2) theta) by (intros; reg).
  intros theta i eps Hi Heps.
  assert (Hli : exists c, forall y : R, @l two_targets i y = (y - c) ^ 2 / 2).
  { destruct (two i Hi) as [->| ->]; [exists 0|exists 1]; intros y; simpl; lra. }
  destruct Hli as [c Hli]. destruct (Hsq c theta eps Heps) as [r [Hr Hlim]].
  exists (fun y => Rabs (@l two_targets i y - @l two_targets i theta) < eps).
  split; [|easy]. exists r. split; [exact Hr|]. intros y Hy. rewrite !Hli.
  destruct (Req_dec theta y) as [<-|Hne]; [rewrite Rminus_eq_0, Rabs_R0; exact Heps|].
  apply Hlim. split; [|exact Hy]. split; [exact Logic.I|exact Hne].
Qed.

(* (iii) Lines through theta, and the two squares along them. *)
Example C09_squares_smooth :
  let curve := fun (theta : R) (c : R -> R) => exists d, forall t, c t = theta + t * d in
  (forall theta c, curve theta c -> c 0 = theta) /\
  (forall theta c, curve theta c -> exists D D_val, smooth_along (P := two_targets) c D D_val).
Proof.
  intros curve. split; [intros theta c [d H]; rewrite H; ring|]. intros theta c [d H].
  assert (Hsq : forall a, derivable_pt_lim (fun t => (c t - a) ^ 2 / 2) 0 ((theta - a) * d)).
  { intros a. apply quadratic_derivative with (d ^ 2 / 2) ((theta - a) ^ 2 / 2) 1; [lra|].
    intros t _. rewrite H. field. }
  assert (Hval : derivable_pt_lim (fun t => c t ^ 2 / 2) 0 (theta * d)).
  { apply derivative_ext with (3 := Hsq 0); [intros t; field|ring]. }
  exists (fun i => if Nat.eqb i 0 then theta * d else (theta - 1) * d), (theta * d).
  split; [|exact Hval]. intros i Hi. destruct (two i Hi) as [->| ->]; [exact Hval|apply Hsq].
Qed.

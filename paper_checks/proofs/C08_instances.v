(* C08(a), an instance: pi = (1, 1/2), l = -log pi, tau = 1.

   Stated: the weights are (2/3, 1/3) and smin_1 = -log(3/4), in numbers; and what C08.v asks of the
   losses, of pi and of w can hold together. Not stated: anything in general; that is C08.v. *)

From BDTheory Require Import Base Useful C08.


Definition halves (i : nat) : R := if Nat.eqb i 0 then 1 else / 2.

Definition two_samples : Problem :=
  {| Theta := unit; N := 2; l := fun i _ => - ln (halves i); L_val := fun _ => 0 |}.

(* exp(-l) = pi: the weights are (2/3, 1/3), and smin_1 = -log(3/4). *)
Example C08_two_samples :
  let P := two_samples in
  softmax 1 tt 0 = 2 / 3 /\ softmax 1 tt 1 = 1 / 3 /\ smin 1 tt = - ln (3 / 4).
Proof.
  assert (Hterm : forall i, exp (- - ln (halves i) / 1) = halves i).
  { intros i. replace (- - ln (halves i) / 1) with (ln (halves i)) by field.
    apply exp_ln. unfold halves. destruct (Nat.eqb i 0); lra. }
  unfold softmax, Z, smin; simpl. rewrite !Hterm. unfold halves; simpl.
  replace (/ (1 + 1) * (0 + 1 + / 2)) with (3 / 4) by field.
  repeat split; field.
Qed.

(* What (iii) and (iv) ask of the losses: the least loss is 0, and none is log 2 above another. *)
Example C08_two_samples_losses :
  let P := two_samples in
  (forall i, (i < N)%nat -> 0 <= l i tt) /\ (exists i, (i < N)%nat /\ l i tt = 0) /\
  (forall i j, (i < N)%nat -> (j < N)%nat -> l i tt - l j tt <= ln 2) /\
  simplex (e 0).
Proof.
  assert (H2 : 0 < ln 2) by (rewrite <- ln_1; apply ln_increasing; lra).
  assert (Hl : forall i, - ln (halves i) = 0 \/ - ln (halves i) = ln 2).
  { intros i. unfold halves.
    destruct (Nat.eqb i 0); [left; rewrite ln_1|right; rewrite ln_Rinv]; lra. }
  simpl. split; [|split; [|split]].
  - intros i _. destruct (Hl i); lra.
  - exists 0%nat. split; [lia|]. unfold halves; simpl. rewrite ln_1. lra.
  - intros i j _ _. destruct (Hl i), (Hl j); lra.
  - apply (@e_simplex two_samples). simpl. lia.
Qed.

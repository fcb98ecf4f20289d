(* Derivatives of functions of one real variable, for C09.

   Stated: functions with the same values have the same derivative; finite sums; straight lines;
   x log(x/u) along a line; what is a quadratic near a point. *)

From BDTheory Require Import Base.

Lemma derivative_ext : forall f g x D D', (forall t, f t = g t) -> D = D' ->
  derivable_pt_lim f x D -> derivable_pt_lim g x D'.
Proof.
  intros f g x D D' H <- Hf eps Heps. destruct (Hf eps Heps) as [delta Hd]. exists delta.
  intros h Hh Hlt. rewrite <- !H. now apply Hd.
Qed.

Lemma derivative_sum : forall n (f : nat -> R -> R) (D : nat -> R) x,
  (forall i, (i < n)%nat -> derivable_pt_lim (f i) x (D i)) ->
  derivable_pt_lim (fun t => sum n (fun i => f i t)) x (sum n D).
Proof.
  intros n f D x. induction n as [|n IH]; intros H; simpl; [apply derivable_pt_lim_const|].
  apply (derivable_pt_lim_plus (fun t => sum n (fun i => f i t)) (f n)); auto with arith.
Qed.

Lemma derivative_line : forall a b, derivable_pt_lim (fun t => a + t * b) 0 b.
Proof.
  intros a b eps Heps. exists (mkposreal eps Heps). intros t Ht _.
  replace ((a + (0 + t) * b - (a + 0 * b)) / t - b) with 0 by (field; exact Ht).
  now rewrite Rabs_R0.
Qed.

(* x log(x/u) along a line. *)
Lemma derivative_entropy : forall w h u, 0 < w -> 0 < u ->
  derivable_pt_lim (fun t => (w + t * h) * ln ((w + t * h) / u)) 0 (h * (ln (w / u) + 1)).
Proof.
  intros w h u Hw Hu.
  assert (Hpos : 0 < w / u) by now apply Rdiv_lt_0_compat.
  assert (Hln : derivable_pt_lim (fun t => ln (w / u + t * (h / u))) 0 (/ (w / u) * (h / u))).
  { apply (derivable_pt_lim_comp (fun t => w / u + t * (h / u)) ln); [apply derivative_line|].
    rewrite Rmult_0_l, Rplus_0_r. now apply derivable_pt_lim_ln. }
  apply derivative_ext with (3 := derivable_pt_lim_mult _ _ 0 _ _ (derivative_line w h) Hln).
  - intros t. unfold mult_fct. f_equal. f_equal. field. lra.
  - rewrite !Rmult_0_l, !Rplus_0_r. field. lra.
Qed.

(* The derivative of what is a quadratic near x. *)
Lemma quadratic_derivative : forall f a b c x r, 0 < r ->
  (forall y, Rabs (y - x) < r -> f y = a * (y - x) ^ 2 + b * (y - x) + c) ->
  derivable_pt_lim f x b.
Proof.
  intros f a b c x r Hr Hf eps Heps.
  assert (Ha := Rabs_pos a). set (s := eps / (Rabs a + 1)).
  assert (Hs : s * (Rabs a + 1) = eps) by (unfold s; field; lra).
  assert (Hpos : 0 < s) by (apply Rdiv_lt_0_compat; lra).
  assert (Hmin : 0 < Rmin r s) by now apply Rmin_pos.
  exists (mkposreal _ Hmin). intros h Hh Hlt. simpl in Hlt.
  assert (Hl := Rmin_l r s). assert (Hm := Rmin_r r s).
  assert (Hxh : f (x + h) = a * h ^ 2 + b * h + c).
  { rewrite Hf; replace (x + h - x) with h by ring; lra. }
  assert (Hx : f x = c) by (rewrite Hf; rewrite Rminus_eq_0, ?Rabs_R0; lra).
  rewrite Hxh, Hx.
  replace ((a * h ^ 2 + b * h + c - c) / h - b) with (a * h) by (field; exact Hh).
  rewrite Rabs_mult. assert (Hh0 := Rabs_pos h). nra.
Qed.

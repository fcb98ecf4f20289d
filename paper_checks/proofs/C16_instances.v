(* C16 under A5: an instance that meets the hypotheses, and a control.

   Stated: (i) p + 1 cannot be lowered: for two squares, p = 1, theta = 0 is in S(1/2, 1/2), and in
   S(w) for no w with a single non-zero weight; A5 holds. (ii) Control, A5 dropped: for C01's wells
   the derivative of F_w is 0 at theta = 0 for w = (1/2, 1/2), as in C16_stationary, and theta = 0
   is in no S(w).

   Not stated: that p + 1 cannot be lowered for p > 1. *)

From Coq Require Import List.
From BDTheory Require Import Base C01 C01_converse C16_convex.

(* (i) p = 1, two squares: theta = 0 needs p + 1 = 2 samples. *)
Example C16_both_needed : A5 1 2 (fun i => parabola (centre i)) (parabola 0) /\
  few_models (P := parabolas) 2 (fun _ => 0) /\ ~ few_models (P := parabolas) 1 (fun _ => 0).
Proof.
  assert (HA5 := proj1 parabolas_A5). split; [exact HA5|split].
  - apply (C16_few_models 1 2 (fun i => parabola (centre i)) (parabola 0) (fun _ => 0) HA5).
    apply (C01 1 2); [exact HA5|apply parabolas_A5].
  - intros [w [[_ Hsum] [[J [Hlen HJ]] HS]]]. simpl in Hsum.
    (* The minimum of F_w is at w_0 - w_1, which is 0 for equal weights only. *)
    assert (Hhalf : w 0%nat = 1 / 2).
    { specialize (HS (fun _ => w 0%nat - w 1%nat)). unfold F in HS. simpl in HS.
      unfold parabola, centre in HS. simpl in HS. nra. }
    assert (H0 : In 0%nat J) by (apply HJ; split; [simpl; lia|lra]).
    assert (H1 : In 1%nat J) by (apply HJ; split; [simpl; lia|lra]).
    destruct J as [|i [|j J]]; simpl in H0, H1, Hlen; lia.
Qed.

(* The derivative of a well at theta = 0. *)
Lemma well_derivative : forall c, derivable_pt_lim (fun t => 1 - exp (- (t - c) ^ 2)) 0
  (- (exp (- c ^ 2) * (2 * c))).
Proof.
  intros c. rewrite <- (Rminus_0_l (exp (- c ^ 2) * (2 * c))).
  apply derivable_pt_lim_minus; [apply derivable_pt_lim_const|].
  apply (derivable_pt_lim_comp (fun t => - (t - c) ^ 2) exp).
  - intros eps Heps. exists (mkposreal eps Heps). intros h Hh Hlt. simpl in Hlt.
    replace ((- (0 + h - c) ^ 2 - - (0 - c) ^ 2) / h - 2 * c) with (- h) by (field; exact Hh).
    now rewrite Rabs_Ropp.
  - replace (exp (- c ^ 2)) with (exp (- (0 - c) ^ 2)) by (f_equal; ring).
    apply derivable_pt_lim_exp.
Qed.

(* (ii) Control, two wells: the gradients at theta = 0 have the mean 0 for w = (1/2, 1/2), and
   theta = 0 is in no S(w). *)
Example C16_wells : derivable_pt_lim (fun t : R => F (P := wells) (fun _ => 1 / 2) t) 0 0 /\
  ~ BDS_models (P := wells) 0.
Proof.
  split; [|exact wells_not_scalarised].
  assert (Hodd : 1 / 2 * - (exp (- 1 ^ 2) * (2 * 1))
                 + 1 / 2 * - (exp (- (-1) ^ 2) * (2 * -1)) = 0).
  { replace ((-1) ^ 2) with (1 ^ 2) by ring. ring. }
  assert (H := derivable_pt_lim_plus _ _ 0 _ _
    (derivable_pt_lim_scal _ (1 / 2) 0 _ (well_derivative 1))
    (derivable_pt_lim_scal _ (1 / 2) 0 _ (well_derivative (-1)))).
  rewrite Hodd in H. intros eps Heps. destruct (H eps Heps) as [delta Hdelta]. exists delta.
  intros h Hh Hlt. rewrite !F_wells. exact (Hdelta h Hh Hlt).
Qed.

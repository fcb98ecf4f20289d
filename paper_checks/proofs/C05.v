(* C05, useful data coverage: BDS can cover all useful samples; which weights are optimal.

   Stated: (i) If U is jointly useful then some theta in S(w), w uniform on U, has L_val = L_val*
   and fits every useful sample; under A1 its coverage is 1 for every eps >= 0. No A2.
   (ii) A2, A3: weights are optimal exactly when their support is jointly useful. So the optimal
   weights are a union of open faces of the simplex: whether w is one depends on its support only,
   and a corner e_i is one for every useful i, however many other useful samples there are.
   (iii) Both where infima are not attained, as statements about sequences.
   (iv) Instances: one_useful of Useful.v, where e_0 is optimal and e_1 is not; exponentials, where
   nothing is attained; and optimal weights with coverage 1/2.

   Not stated: what direct mixing covers; which optimal weights have the largest entropy, and how
   hard they are to find; anything at mu > 0. In (ii) w is optimal if L_val attains V_BDS on S(w);
   where it is only approached, (iii) applies. U is given as a boolean function, since whether a
   sample is useful is not decidable in general. *)

From BDTheory Require Import Base C02 C02_limits C03 Useful.

(* Coverage ------------------------------------------------------------------------------------- *)

Section Coverage.
  Context {P : Problem} (inU : nat -> bool).

  (* The size of U, uniform weights on U, and Cov_eps: the share of U with l_i(theta) <= eps. *)
  Definition size_U : R := sum N (fun i => if inU i then 1 else 0).
  Definition uniform_on_U : nat -> R := fun i => if inU i then / size_U else 0.
  Definition Cov (eps : R) (theta : Theta) : R :=
    sum N (fun i => if inU i then if Rle_dec (l i theta) eps then 1 else 0 else 0) / size_U.

  Definition chosen (i : nat) : Prop := (i < N)%nat /\ inU i = true.

  Lemma size_U_pos : (exists i, chosen i) -> 0 < size_U.
  Proof.
    intros [i [Hi Htrue]]. assert (H := sum_term N (fun i => if inU i then 1 else 0) i).
    simpl in H. rewrite Htrue in H. fold size_U in H.
    apply Rlt_le_trans with 1; [lra|apply H; [|exact Hi]]. intros j _. destruct (inU j); lra.
  Qed.

  Lemma uniform_on_U_simplex : (exists i, chosen i) -> simplex uniform_on_U.
  Proof.
    intros Hsome. assert (H := size_U_pos Hsome). split.
    - intros i _. unfold uniform_on_U. destruct (inU i); [|lra]. left. now apply Rinv_0_lt_compat.
    - rewrite (sum_ext N _ (fun i => / size_U * if inU i then 1 else 0)).
      + rewrite sum_scal. fold size_U. apply Rinv_l. lra.
      + intros i _. unfold uniform_on_U. destruct (inU i); ring.
  Qed.

  Lemma support_chosen : forall i, support uniform_on_U i -> chosen i.
  Proof.
    intros i [Hi Hpos]. split; [exact Hi|]. unfold uniform_on_U in Hpos.
    destruct (inU i); [reflexivity|lra].
  Qed.

  Lemma Cov_one : forall eps theta, A1 -> (exists i, chosen i) ->
    (forall i, chosen i -> near (l i) eps theta) -> Cov eps theta = 1.
  Proof.
    intros eps theta HA1 Hsome H. unfold Cov.
    replace (sum N _) with size_U; [field; apply Rgt_not_eq, (size_U_pos Hsome)|].
    apply sum_ext. intros i Hi. destruct (inU i) eqn:Htrue; [|reflexivity].
    assert (Hle := near_A1 i eps theta HA1 Hi (H i (conj Hi Htrue))).
    destruct (Rle_dec (l i theta) eps); [reflexivity|contradiction].
  Qed.

  (* (i) If U is jointly useful, w uniform on U admits a theta that is optimal for BDS, with
     L_val(theta) = L_val*, and has coverage 1 at every eps >= 0. *)
  Theorem C05_coverage : (forall i, (i < N)%nat -> (inU i = true <-> useful i)) ->
    A1 -> A3 -> jointly_useful U ->
    exists theta, BDS_optimal uniform_on_U theta /\ L_val_star (L_val theta) /\
      forall eps, 0 <= eps -> Cov eps theta = 1.
  Proof.
    intros HU HA1 [i0 [Hi0 Huse]] [theta [HSval HSi]].
    assert (Hsome : exists i, chosen i) by (exists i0; split; [|apply HU]; assumption).
    assert (Hfit : forall i, chosen i -> S_i i theta).
    { intros i [Hi Htrue]. apply HSi. split; [exact Hi|]. now apply HU. }
    assert (Hw := uniform_on_U_simplex Hsome).
    exists theta. split; [|split; [now apply L_val_star_at|]].
    - split; [exact Hw|split; [|intros; apply HSval]].
      apply fits_S_w; [exact Hw|]. intros i Hi. now apply Hfit, support_chosen.
    - intros eps Heps. apply Cov_one; [exact HA1|exact Hsome|].
      intros i Hi theta'. specialize (Hfit i Hi theta'). lra.
  Qed.

  (* (iii) Through sequences, w uniform on U: for every eps > 0 some theta has gap of w and gap of
     L_val at most eps, and coverage 1 at that eps. *)
  Theorem C05_coverage_lim : (forall i, (i < N)%nat -> (inU i = true <-> lim_useful i)) ->
    A1 -> lim_A3 -> lim_jointly_useful (fun i => (i < N)%nat /\ lim_useful i) ->
    simplex uniform_on_U /\ forall eps, 0 < eps ->
      exists theta, near (F uniform_on_U) eps theta /\ near L_val eps theta /\ Cov eps theta = 1.
  Proof.
    intros HU HA1 [i0 [Hi0 Huse]] HJ.
    assert (Hsome : exists i, chosen i) by (exists i0; split; [|apply HU]; assumption).
    assert (Hw := uniform_on_U_simplex Hsome). split; [exact Hw|]. intros eps Heps.
    destruct (HJ eps Heps) as [theta [Hval Hnear]].
    assert (Hfit : forall i, chosen i -> near (l i) eps theta).
    { intros i [Hi Htrue]. apply Hnear. split; [exact Hi|]. now apply HU. }
    exists theta. split; [|split; [exact Hval|now apply Cov_one]].
    apply near_F; [exact Hw|]. intros i Hi. now apply Hfit, support_chosen.
  Qed.
End Coverage.

(* Optimal weights ------------------------------------------------------------------------------ *)

Section OptimalWeights.
  Context {P : Problem}.

  (* (ii) A2, A3: weights are optimal exactly when their support is jointly useful. *)
  Theorem C05_optimal : forall w, A2 -> A3 -> simplex w ->
    ((exists theta, BDS_optimal w theta) <-> jointly_useful (support w)).
  Proof.
    intros w HA2 HA3 Hw. split.
    - intros [theta Hopt]. exists theta. split.
      + apply (proj1 (C02_optimal_A3 theta HA3)), BDS_optimal_best. now exists w.
      + apply C02_S_w; [exact HA2|exact Hw|]. apply Hopt.
    - intros [theta [HSval HSi]]. exists theta. split; [exact Hw|split].
      + now apply fits_S_w.
      + intros w' theta' _ _. apply HSval.
  Qed.

  (* So it depends on the support only: a union of open faces, with the corner of every useful i. *)
  Corollary C05_faces : forall w w', A2 -> A3 -> simplex w -> simplex w' ->
    (forall i, support w i <-> support w' i) ->
    (exists theta, BDS_optimal w theta) -> exists theta, BDS_optimal w' theta.
  Proof.
    intros w w' HA2 HA3 Hw Hw' Hsame H. apply C05_optimal in H; trivial.
    destruct H as [theta [HSval HSi]]. apply C05_optimal; trivial.
    exists theta. split; [exact HSval|]. intros i Hi. now apply HSi, Hsame.
  Qed.

  Corollary C05_corner : forall i, A2 -> A3 -> U i -> exists theta, BDS_optimal (e i) theta.
  Proof.
    intros i HA2 HA3 [Hi [theta [HSi HSval]]].
    apply C05_optimal; [exact HA2|exact HA3|now apply e_simplex|].
    exists theta. split; [exact HSval|]. intros j Hj. now rewrite (support_e i j Hj).
  Qed.

  (* (iii) Through sequences: weights are optimal exactly when their support is jointly useful.
     Nothing need be attained; L_val* only has to be finite. *)
  Theorem C05_optimal_lim : forall w v, lim_A2 -> lim_A3 -> L_val_star v -> simplex w ->
    (lim_BDS_optimal w <-> lim_jointly_useful (support w)).
  Proof.
    intros w v HA2 HA3 Hv Hw. destruct (C02_lim_values_A3 HA3) as [Hvalue _]. split.
    - intros [_ [v' [HV Hreach]]] eps Heps. apply Hvalue in HV. destruct HV as [Hlow _].
      destruct (least_weight N w) as [c [Hc Hleast]].
      (* d below eps, and (d + d) / w_i below eps for every weight in the support *)
      set (d := Rmin eps (eps * c / 2)).
      assert (Hd : 0 < d) by (apply Rmin_pos; [lra|]; assert (0 < eps * c) by nra; lra).
      assert (Hd1 : d <= eps) by apply Rmin_l. assert (Hd2 : d <= eps * c / 2) by apply Rmin_r.
      destruct (Hreach d Hd) as [theta [HF Hval]], (HA2 d Hd) as [star Hstar].
      exists theta. split.
      + intros theta'. assert (v' <= L_val theta') by (apply Hlow; now exists theta'). lra.
      + intros i Hi theta'. destruct (Hi) as [HiN Hpos]. assert (Hci := Hleast i HiN Hpos).
        assert (Hnear := near_support w star theta d d i Hw Hi Hstar HF theta').
        enough ((d + d) / w i <= eps) by lra.
        apply Rmult_le_reg_r with (w i); [exact Hpos|]. unfold Rdiv.
        rewrite Rmult_assoc, Rinv_l by lra. nra.
    - intros HJ. split; [exact Hw|]. exists v. split; [now apply Hvalue|]. intros eps Heps.
      destruct (HJ eps Heps) as [theta [Hval HSi]].
      exists theta. split; [now apply near_F|].
      enough (L_val theta - eps <= v) by lra. apply Hv. intros r [theta' [_ ->]].
      specialize (Hval theta'). lra.
  Qed.
End OptimalWeights.

(* Instances ----------------------------------------------------------------------------------- *)

(* There e_0 is optimal and e_1 is not: "exactly when" has both sides. *)
Example C05_both_sides : let P := one_useful in
  (exists theta, BDS_optimal (e 0) theta) /\ ~ (exists theta, BDS_optimal (e 1) theta).
Proof.
  cbv zeta. destruct one_useful_assumptions as [_ [HA2 [HA3 [_ [_ HU]]]]]. split.
  - apply C05_corner; [exact HA2|exact HA3|].
    split; [simpl; lia|]. apply HU; [simpl; lia|reflexivity].
  - intros H. apply C05_optimal in H; [|exact HA2|exact HA3|apply e_simplex; simpl; lia].
    destruct H as [theta [Hv HS]]. enough (Nat.eqb 1 0 = true) by discriminate.
    apply HU; [simpl; lia|]. exists theta. split; [|exact Hv]. apply HS.
    split; [simpl; lia|]. unfold e. simpl. lra.
Qed.

(* What (iii) asks for can hold together: exponentials in the plane, where nothing is attained. *)
Example C05_lim_assumptions : let P := slopes in
  A1 /\ lim_A2 /\ lim_A3 /\ L_val_star 0 /\
  (forall i, (i < N)%nat -> (Nat.eqb i 0 = true <-> lim_useful i)) /\
  lim_jointly_useful (fun i => (i < N)%nat /\ lim_useful i).
Proof.
  cbv zeta.
  assert (Hinf : forall b, (forall eps, 0 < eps -> b <= exp (- / eps)) -> b <= 0).
  { intros b Hb. apply le_epsilon. intros eps Heps. assert (H := exp_small eps Heps).
    specialize (Hb eps Heps). lra. }
  assert (H0 : forall eps, 0 < eps -> near (@L_val slopes) eps (/ eps, / eps) /\
                                      near (@l slopes 0) eps (/ eps, / eps)).
  { intros eps Heps. assert (H := exp_small eps Heps). split; intros theta; simpl.
    - assert (Hp := exp_pos (- fst theta)). lra.
    - assert (Hp := exp_pos (- snd theta)). lra. }
  assert (Hspec : forall i, (i < 2)%nat -> (Nat.eqb i 0 = true <-> @lim_useful slopes i)).
  { intros i Hi. destruct (two i Hi) as [->| ->]; split; try reflexivity.
    - intros _ eps Heps. exists (/ eps, / eps). now split; apply H0.
    - discriminate.
    - intros H. now apply slopes_useless in H. }
  split; [|split; [apply slopes_A2|split; [exact slopes_A3|split; [|split; [exact Hspec|]]]]].
  - intros i Hi. split; [intros r [theta ->]; simpl; destruct (Nat.eqb i 0); left; apply exp_pos|].
    intros b Hb. apply Hinf. intros eps Heps. apply Hb. exists (- / eps, / eps). simpl.
    now destruct (Nat.eqb i 0).
  - split; [intros r [theta [_ ->]]; left; apply exp_pos|].
    intros b Hb. apply Hinf. intros eps Heps. apply Hb. now exists (/ eps, 0).
  - intros eps Heps. exists (/ eps, / eps). split; [now apply H0|].
    intros i [Hi Huse]. apply Hspec in Huse; [|exact Hi]. apply Nat.eqb_eq in Huse.
    rewrite Huse. now apply H0.
Qed.

(* Optimal weights can under-cover: with L_val = l_0 = a^2/2, l_1 = b^2/2 both samples are useful
   together, and theta = (0, 2) is optimal at w = e_0, with l_1 = 2. *)
Example C05_under_covers : let P := two_rows (sq 1 0 0) (sq 1 0 0) (sq 0 1 0) in
  jointly_useful (fun i => (i < N)%nat) /\ BDS_optimal (e 0) (0, 2) /\
  Cov (fun _ => true) 1 (0, 2) = 1 / 2.
Proof.
  cbv zeta. split; [|split].
  - exists (0, 0). split; [fits|]. intros i Hi. destruct (two i Hi) as [->| ->]; fits.
  - split; [apply e_simplex; simpl; lia|split].
    + apply S_w_e; [simpl; lia|fits].
    + intros w' theta' _ _. revert theta'. fits.
  - unfold Cov, size_U; simpl. unfold sq; simpl.
    destruct (Rle_dec _ 1) as [_|H]; [|exfalso; apply H; lra].
    destruct (Rle_dec _ 1) as [H|_]; [exfalso; lra|lra].
Qed.

(* C17, a control, and an instance that meets the hypotheses.

   Stated: (i) two squares are convex and have a v and a G. (ii) Control: C01's two wells, which
   are not convex, have a v and a G too; at theta = 0 penalised BMO attains its minimum 0, while
   P_gamma(0, w) > gamma / 10 for every w, and no P_gamma(theta, w) is 0.

   Not stated: the exact gap of the wells at 0 (.142), or the minimum of their P_gamma. *)

From BDTheory Require Import Base C01 C01_converse C06 C17.

(* (i) The hypotheses can be met: two squares are convex and have a v and a G. *)
Example C17_squares :
  (forall i, (i < 2)%nat -> convex (parabola (centre i))) /\
  exists v gap, value_function (P := parabolas) v /\ gap_function (P := parabolas) gap.
Proof.
  split; [intros i _; apply parabola_smooth|].
  destruct (@value_function_exists parabolas (fun _ => 0)) as [v Hv].
  - intros i _. split; [intros r [theta ->]; apply pow2_ge_0|].
    intros b Hb. apply Hb. exists (fun _ => centre i). simpl. unfold parabola. lra.
  - destruct (@gap_function_exists parabolas v) as [gap Hgap]; [simpl; lia|exact Hv|].
    now exists v, gap.
Qed.

(* (ii) The wells have a v and a G, so what follows is not empty. *)
Example C17_wells_v_G : exists v gap,
  value_function (P := wells) v /\ gap_function (P := wells) gap.
Proof.
  destruct (@value_function_exists wells 0) as [v Hv].
  - intros i _. split.
    + intros r [theta ->]. rewrite (well i theta _ eq_refl).
      assert (H2 := pow2_ge_0 (theta - centre i)).
      assert (H := exp_le_compat (- (theta - centre i) ^ 2) 0 ltac:(lra)).
      rewrite exp_0 in H. lra.
    + intros b Hb. apply Hb. exists (centre i).
      rewrite (well i (centre i) 0), Ropp_0, exp_0 by (simpl; lra). lra.
  - destruct (@gap_function_exists wells v) as [gap Hgap]; [simpl; lia|exact Hv|].
    now exists v, gap.
Qed.

(* (ii) Control, two wells, not convex: at theta = 0 penalised BMO has its minimum 0, as
   L_val(0) = G(0) = 0; no P_gamma(0, w) is below gamma / 10, and no P_gamma(theta, w) is 0. *)
Example C17_wells : let P := wells in forall v gap gamma,
  value_function v -> gap_function gap -> 0 < gamma ->
  gap 0 = 0 /\ Q_gamma gap gamma 0 = 0 /\ minimiser (Q_gamma gap gamma) 0 /\
  (forall w, simplex w -> gamma / 10 < P_gamma v gamma w 0) /\
  (forall w theta, simplex w -> 0 < P_gamma v gamma w theta).
Proof.
  intros P v gap gamma Hv Hgap Hg.
  assert (Hpos : forall theta, 0 <= gap theta).
  { intros theta. apply (Hgap theta). exists theta. intros; lra. }
  assert (H0 : gap 0 = 0).
  { apply Rle_antisym; [|apply Hpos]. apply (gap_le (P := P) gap 0 0 Hgap), WP_gap, wells_WP. }
  assert (HQ : Q_gamma gap gamma 0 = 0) by (unfold Q_gamma; rewrite H0; simpl; lra).
  assert (Hwells : forall w, simplex w -> gamma / 10 < P_gamma v gamma w 0).
  { intros w Hw. assert (H := wells_gap w Hw). fold P in H.
    rewrite (penalty_near (P := P) v w 0 _ Hv Hw) in H.
    apply Rnot_le_lt, (Rmult_lt_compat_l gamma) in H; [|exact Hg].
    unfold P_gamma. replace (@L_val P 0) with 0 by (simpl; lra). lra. }
  split; [exact H0|split; [exact HQ|split; [|split; [exact Hwells|]]]].
  - intros theta. rewrite HQ. unfold Q_gamma.
    assert (H := Rmult_le_pos gamma (gap theta) ltac:(lra) (Hpos theta)).
    assert (H2 := pow2_ge_0 theta). simpl in *. lra.
  - intros w theta Hw. destruct (Req_dec theta 0) as [->|Hne].
    + specialize (Hwells w Hw). lra.
    + assert (H : 0 <= F w theta - v w).
      { destruct (Hv w Hw) as [Hlow _].
        enough (v w <= F w theta) by lra. apply Hlow. now exists theta. }
      apply (Rmult_le_compat_l gamma) in H; [|lra]. rewrite Rmult_0_r in H. unfold P_gamma.
      assert (H2 : 0 < theta * theta) by (destruct (Rdichotomy _ _ Hne); nra). simpl in *. lra.
Qed.

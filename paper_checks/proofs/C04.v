(* C04(a), BDS beats unfiltered direct mixing at every ratio.

   Stated: A2, A3, A5. (i) theta_lam attains V_BDS for some lam > 0, equivalently for every lam > 0
   (theta_lam then exists), exactly when the whole training set is jointly useful. (ii) A4 excludes
   that: L_val(theta_lam) > V_BDS = L_val* for every lam > 0 and every theta_lam. (iii) The gap
   L_val(theta_lam) - V_BDS never falls as lam grows: that needs no assumption. (iv) A1 alone, for
   controls without A3: direct mixing is below any V with lam mean l(theta_v) < V - L_val(theta_v)
   for some theta_v.

   Instances, among them one that has all these assumptions, and the control without A5, are in
   C04_instances.v; models in R^p with gradients, and squared loss of any size, in C04_vectors.v;
   (b), the logistic loss, in C04_logistic.v.

   A5 here: the losses are convex along segments and have a derivative at each point along each line
   through it; no gradient that is linear in the direction, and no continuity, is asked for. Of A5
   the proof uses less: l_i convex, and the derivatives of L_val alone. Models live in any space in
   which `line a b t`, to be read as a + t (b - a), is a at t = 0; nothing else of a vector space
   is used.

   Not stated: that theta_lam exists where the set is not jointly useful; the limit of gap / lam^2
   for squared loss; anything at mu > 0. *)

From BDTheory Require Import Base C02 Useful.

(* In R^p: line a b t = a + t (b - a), for every real t. *)
Class Lines (P : Problem) := {
  line : Theta -> Theta -> R -> Theta;
  line_0 : forall a b, line a b 0 = a
}.

Section C04.
  Context {P : Problem} {L : Lines P}.

  Definition convex (f : Theta -> R) : Prop :=
    forall a b t, 0 <= t <= 1 -> f (line a b t) <= (1 - t) * f a + t * f b.
  Definition differentiable (f : Theta -> R) : Prop :=
    forall a b, exists D, derivable_pt_lim (fun t => f (line a b t)) 0 D.

  Definition A5 : Prop :=
    (forall i, (i < N)%nat -> convex (l i) /\ differentiable (l i)) /\
    convex L_val /\ differentiable L_val.
  (* The part that is used. *)
  Definition A5_used : Prop :=
    (forall i, (i < N)%nat -> convex (l i)) /\ differentiable L_val.

  Lemma A5_enough : A5 -> A5_used.
  Proof. intros [Hl [_ Hd]]. split; [|exact Hd]. intros i Hi. now apply Hl. Qed.

  (* DM: theta_lam minimises L_val + lam (1/N) sum_i l_i. *)
  Definition mixed (lam : R) (theta : Theta) : R := L_val theta + lam * F uniform theta.
  Definition DM (lam : R) : Theta -> Prop := minimiser (mixed lam).

  (* "The whole training set" as a set of samples. *)
  Definition everything (i : nat) : Prop := (i < N)%nat.

  (* First-order condition ---------------------------------------------------------------------- *)

  (* A mean of convex losses is convex. *)
  Lemma F_convex : forall w, (forall i, (i < N)%nat -> 0 <= w i) ->
    (forall i, (i < N)%nat -> convex (l i)) -> convex (F w).
  Proof.
    intros w Hw Hl a b t Ht. unfold F. rewrite <- !sum_scal, <- sum_plus. apply sum_le.
    intros i Hi. specialize (Hl i Hi a b t Ht). specialize (Hw i Hi).
    apply Rmult_le_compat_l with (r := w i) in Hl; lra.
  Qed.

  (* At a minimiser of f the derivative along a line is 0, so f hardly rises: by less than c t. *)
  Lemma flat_at_minimiser : forall f theta b c, differentiable f -> minimiser f theta -> 0 < c ->
    exists t, 0 < t <= 1 /\ f (line theta b t) - f theta < c * t.
  Proof.
    intros f theta b c Hf Hmin Hc. destruct (Hf theta b) as [D HD].
    destruct (HD (c / 2)) as [delta Hdelta]; [lra|].
    assert (Hpos := cond_pos delta).
    assert (Hq : forall h, h <> 0 -> Rabs h < delta ->
                 Rabs ((f (line theta b h) - f theta) / h - D) < c / 2).
    { intros h Hh Hsmall. specialize (Hdelta h Hh Hsmall). simpl in Hdelta.
      now rewrite Rplus_0_l, line_0 in Hdelta. }
    (* the difference quotient to the left is <= 0, hence D < c / 2 *)
    set (t := Rmin 1 (delta / 2)). assert (Ht1 : t <= 1) by apply Rmin_l.
    assert (Ht2 : t <= delta / 2) by apply Rmin_r.
    assert (Ht : 0 < t) by (apply Rmin_pos; lra).
    assert (HD0 : D < c / 2).
    { assert (H := Hq (- t) ltac:(lra)). rewrite Rabs_Ropp, Rabs_right in H by lra.
      specialize (H ltac:(lra)). apply Rabs_def2 in H.
      assert (0 <= (f (line theta b (- t)) - f theta) / t).
      { apply Rmult_le_pos; [specialize (Hmin (line theta b (- t))); lra|].
        left. now apply Rinv_0_lt_compat. }
      replace ((f (line theta b (- t)) - f theta) / - t)
        with (- ((f (line theta b (- t)) - f theta) / t)) in H by (field; lra). lra. }
    exists t. split; [lra|].
    assert (H := Hq t ltac:(lra)). rewrite Rabs_right in H by lra.
    specialize (H ltac:(lra)). apply Rabs_def2 in H.
    replace (f (line theta b t) - f theta) with ((f (line theta b t) - f theta) / t * t)
      by (field; lra).
    apply Rmult_lt_compat_r; lra.
  Qed.

  (* The argument of C04: a theta_lam in S_val minimises the mean training loss. *)
  Lemma mean_minimal : forall lam theta, A5_used -> (0 < N)%nat -> 0 < lam ->
    DM lam theta -> S_val theta -> minimiser (F uniform) theta.
  Proof.
    intros lam theta [Hl Hd] HN Hlam HDM HS b. apply Rnot_lt_le. intros Hlt.
    assert (Hconv : convex (F uniform)).
    { apply F_convex; [|exact Hl]. now apply uniform_simplex. }
    destruct (flat_at_minimiser L_val theta b (lam * (F uniform theta - F uniform b)) Hd HS)
      as [t [Ht Hflat]]; [apply Rmult_lt_0_compat; lra|].
    specialize (HDM (line theta b t)). unfold mixed in HDM.
    specialize (Hconv theta b t ltac:(lra)).
    apply Rmult_le_compat_l with (r := lam) in Hconv; lra.
  Qed.

  (* Direct mixing ----------------------------------------------------------------------------- *)

  Lemma A3_nonempty : A3 -> (0 < N)%nat.
  Proof. intros [i [Hi _]]. lia. Qed.

  (* A2: a theta_lam in S_val fits every sample. *)
  Lemma DM_at_S_val : forall lam theta, A2 -> A5_used -> (0 < N)%nat -> 0 < lam ->
    DM lam theta -> S_val theta -> jointly_useful everything.
  Proof.
    intros lam theta HA2 HA5 HN Hlam HDM HS. exists theta. split; [exact HS|]. intros i Hi.
    apply (proj1 (C02_S_w uniform theta HA2 (uniform_simplex HN))).
    - now apply mean_minimal with lam.
    - split; [exact Hi|]. now apply Rinv_0_lt_compat, lt_0_INR.
  Qed.

  (* Conversely, what fits every sample and the validation data minimises any mixture. *)
  Lemma joint_is_DM : forall lam theta, (0 < N)%nat -> 0 < lam -> S_val theta ->
    (forall i, everything i -> S_i i theta) -> DM lam theta.
  Proof.
    intros lam theta HN Hlam HS Hfit theta'. unfold mixed.
    assert (HF : F uniform theta <= F uniform theta').
    { apply fits_S_w; [now apply uniform_simplex|]. intros i [Hi _]. now apply Hfit. }
    apply Rmult_le_compat_l with (r := lam) in HF; [|lra]. specialize (HS theta'). lra.
  Qed.

  (* (i) For one lam and one theta_lam: L_val(theta_lam) = V_BDS exactly when the whole training set
     is jointly useful. Only the used part of A5 is asked for. *)
  Lemma C04_equal : forall lam theta V, A2 -> A3 -> A5_used -> V_BDS V -> 0 < lam ->
    DM lam theta -> (L_val theta = V <-> jointly_useful everything).
  Proof.
    intros lam theta V HA2 HA3 HA5 HV Hlam HDM. rewrite (at_V_BDS V theta HA3 HV).
    assert (HN := A3_nonempty HA3). split.
    - now apply DM_at_S_val with lam.
    - intros [theta0 [HS0 Hfit]] theta'. apply Rle_trans with (L_val theta0); [|apply HS0].
      specialize (HDM theta0). unfold mixed in HDM.
      assert (HF : F uniform theta0 <= F uniform theta).
      { apply fits_S_w; [now apply uniform_simplex|]. intros i [Hi _]. now apply Hfit. }
      apply Rmult_le_compat_l with (r := lam) in HF; lra.
  Qed.

  (* (i) L_val(theta_lam) = V_BDS for some lam > 0, or for every lam > 0, exactly when the whole
     training set is jointly useful. *)
  Theorem C04_some_every : forall V, A2 -> A3 -> A5 -> V_BDS V ->
    ((exists lam theta, 0 < lam /\ DM lam theta /\ L_val theta = V)
      <-> jointly_useful everything) /\
    ((forall lam, 0 < lam ->
        (exists theta, DM lam theta) /\ forall theta, DM lam theta -> L_val theta = V)
      <-> jointly_useful everything).
  Proof.
    intros V HA2 HA3 HA5 HV. apply A5_enough in HA5.
    assert (Hequal := fun lam theta => C04_equal lam theta V HA2 HA3 HA5 HV).
    assert (Hexists : jointly_useful everything ->
                      forall lam, 0 < lam -> exists theta, DM lam theta).
    { intros [theta [HS Hfit]] lam Hlam. exists theta.
      now apply joint_is_DM; [apply A3_nonempty| | |]. }
    split; split.
    - intros [lam [theta [Hlam [HDM Heq]]]]. now apply (Hequal lam theta).
    - intros HJ. destruct (Hexists HJ 1 Rlt_0_1) as [theta HDM].
      exists 1, theta. split; [lra|split; [exact HDM|]]. now apply (Hequal 1 theta Rlt_0_1).
    - intros Hall. destruct (Hall 1 Rlt_0_1) as [[theta HDM] Heq].
      apply (Hequal 1 theta Rlt_0_1 HDM). now apply Heq.
    - intros HJ lam Hlam. split; [now apply Hexists|]. intros theta HDM. now apply (Hequal lam).
  Qed.

  (* (ii) With a useless sample (A4) L_val(theta_lam) > V_BDS = L_val* at every lam > 0. *)
  Theorem C04_gap : forall lam theta V, A2 -> A3 -> A4 -> A5 -> V_BDS V -> 0 < lam ->
    DM lam theta -> V < L_val theta /\ L_val_star V.
  Proof.
    intros lam theta V HA2 HA3 [i [Hi Hnot]] HA5 HV Hlam HDM.
    assert (Hstar := proj1 (proj1 (C02_values_A3 HA3) V) HV). split; [|exact Hstar].
    assert (Hle : V <= L_val theta) by (apply Hstar; now exists theta).
    destruct Hle as [Hlt|Heq]; [exact Hlt|exfalso]. apply Hnot.
    apply A5_enough in HA5.
    destruct (proj1 (C04_equal lam theta V HA2 HA3 HA5 HV Hlam HDM) (eq_sym Heq))
      as [theta0 [HS Hfit]].
    exists theta0. split; [now apply Hfit|exact HS].
  Qed.

  (* (iii) L_val(theta_lam), and so the gap, never falls as lam grows. *)
  Theorem C04_monotone : forall lam lam' theta theta', lam < lam' -> 0 < lam ->
    DM lam theta -> DM lam' theta' -> L_val theta <= L_val theta'.
  Proof.
    intros lam lam' theta theta' Hlt Hlam H H'.
    specialize (H theta'). specialize (H' theta). unfold mixed in *.
    (* the two optimalities together: the mean training loss does not rise *)
    assert (HF : (lam' - lam) * F uniform theta' <= (lam' - lam) * F uniform theta) by lra.
    apply Rmult_le_reg_l in HF; [|lra]. apply Rmult_le_compat_l with (r := lam) in HF; lra.
  Qed.

  (* (iv) With losses >= 0 direct mixing beats V wherever some theta_v leaves it room. Where
     V = V_BDS > L_val* and theta_v is in S_val, that is every small lam; A3 excludes it. *)
  Theorem C04_mixing_wins : forall lam theta theta_v V, A1 -> 0 < lam -> DM lam theta ->
    L_val theta_v + lam * F uniform theta_v < V -> L_val theta < V.
  Proof.
    intros lam theta theta_v V HA1 Hlam HDM Hroom. specialize (HDM theta_v). unfold mixed in HDM.
    assert (HF : 0 <= F uniform theta).
    { apply F_pos; [exact HA1|]. intros i Hi. left. apply Rinv_0_lt_compat, lt_0_INR. lia. }
    assert (0 <= lam * F uniform theta) by (apply Rmult_le_pos; lra). lra.
  Qed.
End C04.

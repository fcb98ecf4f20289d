(* C09, local minima: those of the explicit and of the implicit problem are the same.

   Stated, for gamma > 0, tau > 0 and N > 0: (i) where the losses are continuous at theta,
   (theta, w) is a local minimum of E exactly when theta is one of I and w = softmax(-l(theta)/tau),
   with E and I as in C09.v. (ii) From I to E no continuity is asked for.

   "Local" for theta is with respect to any neighbourhoods, where of each two a third lies in both;
   for w it is coordinate by coordinate, inside the simplex. L_val need not be continuous. That the
   real line has such neighbourhoods is in C09_instances.v.

   Elsewhere: stationary points, in C09_stationary.v.

   Not stated: local minima of E in the selector logits. *)

From BDTheory Require Import Base Useful C08 C09.

(* One term of KL along the segment from w to u. *)
Lemma KL_term_segment : forall w u t, 0 <= w -> 0 < u -> 0 < t < 1 ->
  (w + t * (u - w)) * ln ((w + t * (u - w)) / u) <= (1 - t) * (w * ln (w / u)).
Proof.
  intros w u t Hw Hu Ht. set (z := w + t * (u - w)). assert (Hz : 0 < z) by (unfold z; nra).
  assert (Hsplit : w * ln (w / u) = w * ln (w / z) + w * ln (z / u)).
  { destruct Hw as [Hw|<-]; [|ring]. rewrite <- Rmult_plus_distr_l, <- ln_mult.
    - f_equal. f_equal. field. lra.
    - now apply Rdiv_lt_0_compat.
    - now apply Rdiv_lt_0_compat. }
  assert (Hzu : ln (z / u) = - ln (u / z)).
  { rewrite <- ln_Rinv by now apply Rdiv_lt_0_compat. f_equal. field. lra. }
  assert (Hwz := gibbs_term_le w z Hw Hz).
  assert (Huz := gibbs_term_le u z (Rlt_le _ _ Hu) Hz).
  assert (H1 := Rmult_le_compat_l (1 - t) _ _ ltac:(lra) Hwz).
  assert (H2 := Rmult_le_compat_l t _ _ ltac:(lra) Huz).
  rewrite Hsplit, Hzu. assert (Hcombine : (1 - t) * w + t * u = z) by (unfold z; ring).
  replace (z * - ln (u / z))
    with (((1 - t) * w + t * u) * - ln (u / z)) by now rewrite Hcombine.
  lra.
Qed.

(* Where no loss moves by more than d, no weight grows by more than the factor exp(d/tau)^2. *)
Lemma softmax_moves : forall (P : Problem) tau, 0 < tau -> (0 < N)%nat -> forall theta theta' d,
  (forall i, (i < N)%nat -> Rabs (l i theta' - l i theta) <= d) ->
  forall i, (i < N)%nat -> softmax tau theta' i <= exp (d / tau) ^ 2 * softmax tau theta i.
Proof.
  intros P tau Htau HN theta theta' d Hd i Hi. set (K := exp (d / tau)).
  assert (HK : 0 < K) by apply exp_pos.
  assert (Hexp : forall x y, Rabs (x - y) <= d -> exp (- x / tau) <= K * exp (- y / tau)).
  { intros x y Hxy. unfold K. rewrite <- exp_plus. apply exp_le_compat.
    apply Rle_trans with (- (y - d) / tau); [|right; field; lra].
    apply div_le; [exact Htau|]. assert (H := Rle_abs (- (x - y))). rewrite Rabs_Ropp in H. lra. }
  assert (HZ : Z tau theta <= K * Z tau theta').
  { unfold Z. rewrite <- sum_scal. apply sum_le. intros j Hj. apply Hexp.
    rewrite Rabs_minus_sym. now apply Hd. }
  assert (He := Hexp _ _ (Hd i Hi)).
  assert (HZ0 := Z_pos tau theta HN). assert (HZ1 := Z_pos tau theta' HN).
  assert (Hpos := exp_pos (- l i theta / tau)). unfold softmax.
  apply Rmult_le_reg_r with (Z tau theta' * Z tau theta); [now apply Rmult_lt_0_compat|].
  replace (exp (- l i theta' / tau) / Z tau theta' * (Z tau theta' * Z tau theta))
    with (exp (- l i theta' / tau) * Z tau theta) by (field; lra).
  replace (K ^ 2 * (exp (- l i theta / tau) / Z tau theta) * (Z tau theta' * Z tau theta))
    with (K * exp (- l i theta / tau) * (K * Z tau theta')) by (field; lra).
  apply Rmult_le_compat; try lra. left. apply exp_pos.
Qed.

Section Local.
  Context {P : Problem} (gamma tau : R).
  Hypotheses (Hgamma : 0 < gamma) (Htau : 0 < tau) (HN : (0 < N)%nat).

  (* nbhd theta A: A is a neighbourhood of theta. *)
  Variable nbhd : Theta -> (Theta -> Prop) -> Prop.
  Hypothesis nbhd_some : forall theta, exists A, nbhd theta A.
  Hypothesis nbhd_self : forall theta A, nbhd theta A -> A theta.
  Hypothesis nbhd_both : forall theta A B, nbhd theta A -> nbhd theta B ->
    exists C, nbhd theta C /\ forall theta', C theta' -> A theta' /\ B theta'.

  Definition close (delta : R) (w w' : nat -> R) : Prop :=
    forall i, (i < N)%nat -> Rabs (w' i - w i) < delta.
  Definition explicit_local (w : nat -> R) (theta : Theta) : Prop := simplex w /\
    exists A delta, nbhd theta A /\ 0 < delta /\ forall w' theta', simplex w' ->
      close delta w w' -> A theta' -> explicit gamma tau w theta <= explicit gamma tau w' theta'.
  Definition implicit_local (theta : Theta) : Prop :=
    exists A, nbhd theta A /\
      forall theta', A theta' -> implicit gamma tau theta <= implicit gamma tau theta'.
  Definition continuous_at (theta : Theta) : Prop := forall i eps, (i < N)%nat -> 0 < eps ->
    exists A, nbhd theta A /\ forall theta', A theta' -> Rabs (l i theta' - l i theta) < eps.

  (* A local minimum over w alone is softmax: towards it KL falls from the first step on. *)
  Lemma local_softmax : forall w theta, explicit_local w theta ->
    forall i, (i < N)%nat -> w i = softmax tau theta i.
  Proof.
    intros w theta [Hw [A [delta [HA [Hdelta Hmin]]]]].
    set (u := softmax tau theta). assert (Hu : simplex u) by now apply softmax_simplex.
    assert (Hpos : forall i, 0 < u i) by (intros i; now apply softmax_pos).
    assert (Hone : forall w' i, simplex w' -> (i < N)%nat -> 0 <= w' i <= 1).
    { intros w' i [Hw' <-] Hi. split; [now apply Hw'|now apply sum_term]. }
    apply C08_gibbs_equal; try assumption; [intros; apply Hpos|].
    set (t := Rmin (1 / 2) (delta / 2)).
    assert (Hl := Rmin_l (1 / 2) (delta / 2)). assert (Hr := Rmin_r (1 / 2) (delta / 2)).
    assert (Ht : 0 < t) by (apply Rmin_pos; lra). fold t in Hl, Hr.
    set (wt := fun i => w i + t * (u i - w i)).
    assert (Hwt : simplex wt).
    { split.
      - intros i Hi. specialize (Hone w i Hw Hi). specialize (Hpos i). unfold wt. nra.
      - rewrite (sum_ext N wt (fun i => (1 - t) * w i + t * u i)) by (intros; unfold wt; ring).
        rewrite sum_plus, !sum_scal, (proj2 Hw), (proj2 Hu). ring. }
    assert (Hle := Hmin wt theta Hwt).
    rewrite (excess gamma tau Htau HN w theta Hw), (excess gamma tau Htau HN wt theta Hwt) in Hle.
    fold u in Hle.
    assert (Hsegment : KL N wt u <= (1 - t) * KL N w u).
    { unfold KL. rewrite <- sum_scal. apply sum_le. intros i Hi.
      apply KL_term_segment; [now apply Hw|apply Hpos|lra]. }
    assert (HKL : KL N w u <= KL N wt u).
    { apply Rmult_le_reg_l with (gamma * tau); [now apply Rmult_lt_0_compat|].
      enough (implicit gamma tau theta + gamma * tau * KL N w u
              <= implicit gamma tau theta + gamma * tau * KL N wt u) by lra.
      apply Hle; [|now apply nbhd_self].
      intros i Hi. assert (H1 := Hone w i Hw Hi). assert (H2 := Hone u i Hu Hi).
      replace (wt i - w i) with (t * (u i - w i)) by (unfold wt; ring).
      apply Rabs_def1; nra. }
    nra.
  Qed.

  (* All losses at once. *)
  Lemma continuous_all : forall theta eps, continuous_at theta -> 0 < eps ->
    exists A, nbhd theta A /\ forall theta' i, A theta' -> (i < N)%nat ->
      Rabs (l i theta' - l i theta) < eps.
  Proof.
    intros theta eps Hc Heps.
    enough (H : forall n, (n <= N)%nat -> exists A, nbhd theta A /\
      forall theta' i, A theta' -> (i < n)%nat -> Rabs (l i theta' - l i theta) < eps)
      by now apply H.
    induction n as [|n IH]; intros Hn.
    - destruct (nbhd_some theta) as [A HA]. exists A. split; [exact HA|lia].
    - destruct IH as [A [HA Hall]]; [lia|]. destruct (Hc n eps) as [B [HB Hlast]]; [lia|lra|].
      destruct (nbhd_both theta A B HA HB) as [C [HC Hboth]]. exists C. split; [exact HC|].
      intros theta' i Htheta' Hi. destruct (Hboth theta' Htheta') as [HA' HB'].
      destruct (Nat.eq_dec i n) as [->|Hne]; [now apply Hlast|apply Hall; [exact HA'|lia]].
  Qed.

  (* (i) gamma, tau > 0, from E to I: where the losses are continuous at theta, a local minimum
     (theta, w) of E has w = softmax(-l(theta)/tau), and theta is a local minimum of I. *)
  Theorem C09_local_implicit : forall w theta, continuous_at theta -> explicit_local w theta ->
    implicit_local theta /\ forall i, (i < N)%nat -> w i = softmax tau theta i.
  Proof.
    intros w theta Hc Hlocal. assert (Hsoft := local_softmax w theta Hlocal).
    split; [|exact Hsoft]. destruct Hlocal as [Hw [A [delta [HA [Hdelta Hmin]]]]].
    set (d := tau / 2 * ln (1 + delta / 2)).
    assert (Hd : 0 < d).
    { assert (0 < ln (1 + delta / 2)) by (rewrite <- ln_1; apply ln_increasing; lra).
      unfold d. nra. }
    destruct (continuous_all theta d Hc Hd) as [B [HB Hclose]].
    destruct (nbhd_both theta A B HA HB) as [C [HC Hboth]]. exists C. split; [exact HC|].
    intros theta' Htheta'. destruct (Hboth theta' Htheta') as [HA' HB'].
    destruct (C09_partial_minimum gamma tau Hgamma Htau HN theta') as [_ [Hs' [<- _]]].
    rewrite <- (explicit_softmax gamma tau Htau HN w theta Hw Hsoft).
    apply Hmin; [exact Hs'| |exact HA'].
    intros i Hi. rewrite (Hsoft i Hi).
    assert (Hratio : forall j, (j < N)%nat -> Rabs (l j theta' - l j theta) <= d)
      by (intros j Hj; left; now apply Hclose).
    assert (HK : exp (d / tau) ^ 2 = 1 + delta / 2).
    { simpl. rewrite Rmult_1_r, <- exp_plus.
      replace (d / tau + d / tau) with (ln (1 + delta / 2)) by (unfold d; field; lra).
      apply exp_ln. lra. }
    assert (H1 := softmax_moves P tau Htau HN theta theta' d Hratio i Hi).
    assert (H2 := softmax_moves P tau Htau HN theta' theta d
      ltac:(intros j Hj; rewrite Rabs_minus_sym; now apply Hratio) i Hi).
    rewrite HK in H1, H2.
    assert (Hone : forall th, 0 <= softmax tau th i <= 1).
    { intros th. destruct (softmax_simplex tau th HN) as [Hpos Hsum].
      split; [now apply Hpos|rewrite <- Hsum; now apply sum_term]. }
    assert (Ha := Hone theta). assert (Hb := Hone theta'). apply Rabs_def1; nra.
  Qed.

  (* (ii) gamma, tau > 0, from I to E: at a local minimum theta of I the pair
     (theta, softmax(-l(theta)/tau)) is a local minimum of E. No continuity. *)
  Theorem C09_local_explicit : forall w theta, simplex w -> implicit_local theta ->
    (forall i, (i < N)%nat -> w i = softmax tau theta i) -> explicit_local w theta.
  Proof.
    intros w theta Hw [A [HA Hmin]] Hsoft. split; [exact Hw|]. exists A, 1.
    split; [exact HA|split; [lra|]]. intros w' theta' Hw' _ Htheta'.
    rewrite (explicit_softmax gamma tau Htau HN w theta Hw Hsoft).
    apply Rle_trans with (1 := Hmin theta' Htheta'). now apply C09_partial_minimum.
  Qed.

  (* (i) gamma, tau > 0: where the losses are continuous at theta, (theta, w) is a local minimum
     of E exactly when theta is one of I and w = softmax(-l(theta)/tau). *)
  Theorem C09_local : forall w theta, continuous_at theta -> simplex w ->
    (explicit_local w theta <->
     implicit_local theta /\ forall i, (i < N)%nat -> w i = softmax tau theta i).
  Proof.
    intros w theta Hc Hw. split; [now apply C09_local_implicit|].
    intros [Hmin Hsoft]. now apply C09_local_explicit.
  Qed.
End Local.

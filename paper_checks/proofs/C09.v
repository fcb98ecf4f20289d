(* C09, explicit and implicit weights are one thing.

   The explicit problem is E(theta, w) = L_val + gamma (F_w + tau KL(w, uniform)) over theta and w
   in the simplex, the implicit one I(theta) = L_val + gamma smin_tau(losses(theta)) over theta.
   Stated, for gamma > 0, tau > 0 and N > 0: (i) for every theta, min over w of E(theta, w) =
   I(theta), at softmax(-l(theta)/tau) and only there. (ii) (theta, w) is a global minimiser of the
   explicit problem exactly when theta is one of the implicit problem and
   w = softmax(-l(theta)/tau); the values are equal, attained or not. No structure of Theta is used.

   Local minima are in C09_local.v, gradients and stationary points in C09_stationary.v; instances,
   and the control tau = 0, in C09_instances.v.

   Not stated: that there is a minimiser; anything at tau = 0. *)

From BDTheory Require Import Base Useful C08.

Section C09.
  Context {P : Problem} (gamma tau : R).
  Hypotheses (Hgamma : 0 < gamma) (Htau : 0 < tau) (HN : (0 < N)%nat).

  (* E and I. *)
  Definition explicit (w : nat -> R) (theta : Theta) : R :=
    L_val theta + gamma * (F w theta + tau * KL N w uniform).
  Definition implicit (theta : Theta) : R := L_val theta + gamma * smin tau theta.

  (* The excess of w. *)
  Lemma excess : forall w theta, simplex w ->
    explicit w theta = implicit theta + gamma * tau * KL N w (softmax tau theta).
  Proof.
    intros w theta Hw. unfold explicit, implicit.
    rewrite (C08_identity tau theta Htau HN w Hw). ring.
  Qed.

  (* KL depends on the weights of the samples only. *)
  Lemma KL_ext : forall w w' u, (forall i, (i < N)%nat -> w i = w' i) -> KL N w u = KL N w' u.
  Proof. intros w w' u H. apply sum_ext. intros i Hi. now rewrite (H i Hi). Qed.

  Lemma explicit_softmax : forall w theta, simplex w ->
    (forall i, (i < N)%nat -> w i = softmax tau theta i) -> explicit w theta = implicit theta.
  Proof.
    intros w theta Hw H. unfold explicit, implicit. rewrite <- (C08_value tau theta Htau HN).
    rewrite (KL_ext w (softmax tau theta) uniform H).
    replace (F w theta) with (F (softmax tau theta) theta); [reflexivity|].
    apply sum_ext. intros i Hi. now rewrite (H i Hi).
  Qed.

  (* (i) gamma, tau > 0: for every theta, I(theta) is the minimum over w in the simplex of
     E(theta, w); softmax(-l(theta)/tau) attains it, and nothing else does. *)
  Theorem C09_partial_minimum : forall theta,
    (forall w, simplex w -> implicit theta <= explicit w theta) /\
    simplex (softmax tau theta) /\ explicit (softmax tau theta) theta = implicit theta /\
    (forall w, simplex w -> explicit w theta <= implicit theta ->
      forall i, (i < N)%nat -> w i = softmax tau theta i).
  Proof.
    intros theta. assert (Hs := softmax_simplex tau theta HN).
    split; [|split; [exact Hs|split; [now apply explicit_softmax|]]].
    - intros w Hw. apply Rplus_le_compat_l, Rmult_le_compat_l; [lra|]. now apply C08_bound.
    - intros w Hw Hle. apply (C08_unique tau theta Htau HN w Hw).
      apply Rmult_le_reg_l with gamma; [exact Hgamma|]. unfold explicit, implicit in Hle. lra.
  Qed.

  (* Minimisers --------------------------------------------------------------------------------- *)

  Definition explicit_minimal (w : nat -> R) (theta : Theta) : Prop := simplex w /\
    forall w' theta', simplex w' -> explicit w theta <= explicit w' theta'.

  (* (ii) gamma, tau > 0: the global minimisers of the explicit problem E are the pairs
     (theta, softmax(-l(theta)/tau)) with theta a global minimiser of the implicit problem I. *)
  Theorem C09_minimisers : forall w theta, simplex w ->
    (explicit_minimal w theta <->
     minimiser implicit theta /\ forall i, (i < N)%nat -> w i = softmax tau theta i).
  Proof.
    intros w theta Hw. split.
    - intros [_ Hmin]. destruct (C09_partial_minimum theta) as [Hle [Hs [Heq Honly]]].
      assert (Hbest : explicit w theta <= implicit theta) by (rewrite <- Heq; now apply Hmin).
      split; [|now apply Honly]. intros theta'.
      apply Rle_trans with (explicit w theta); [now apply Hle|].
      destruct (C09_partial_minimum theta') as [_ [Hs' [<- _]]]. now apply Hmin.
    - intros [Hmin Hsoft]. split; [exact Hw|]. intros w' theta' Hw'.
      rewrite (explicit_softmax w theta Hw Hsoft). apply Rle_trans with (1 := Hmin theta').
      now apply C09_partial_minimum.
  Qed.

  (* (ii) gamma, tau > 0: the infimum of the explicit problem over theta and w is that of the
     implicit problem, attained or not. *)
  Theorem C09_values : forall V,
    is_inf (fun r => exists w theta, simplex w /\ r = explicit w theta) V <->
    is_inf (fun r => exists theta, r = implicit theta) V.
  Proof.
    assert (Hbounds : forall b,
      (forall r, (exists w theta, simplex w /\ r = explicit w theta) -> b <= r) <->
      (forall r, (exists theta, r = implicit theta) -> b <= r)).
    { intros b. split; intros H r.
      - intros [theta ->]. destruct (C09_partial_minimum theta) as [_ [Hs [<- _]]]. apply H.
        now exists (softmax tau theta), theta.
      - intros [w [theta [Hw ->]]]. apply Rle_trans with (implicit theta).
        + apply H. now exists theta.
        + now apply C09_partial_minimum. }
    intros V. split; intros [Hlow Hbest];
      (split; [apply Hbounds, Hlow|intros b Hb; apply Hbest, Hbounds, Hb]).
  Qed.
End C09.

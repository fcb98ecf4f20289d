(* C06(a), the penalty problem P_gamma(theta, w) = L_val + gamma (F_w(theta) - v(w)), mu = 0.

   Stated, for every gamma > 0: (i) A1, A3: min P_gamma = L_val* over w in the simplex and theta,
   with v kept or dropped, and w = e_i attains it for every useful i. (ii) A1: with v dropped, w
   attains L_val* exactly when its support is jointly useful; so under A3 every minimiser is
   supported on a jointly useful set. No A2. (iii) Both where infima are not attained:
   inf P_gamma = L_val*; and if P_gamma(theta_k, w_k) -> L_val* and w_k -> w, with v dropped, the
   support of w is jointly useful through sequences. (iv) With w frozen at uniform and v dropped it
   is direct mixing at lam = gamma.

   Controls (with v kept a minimiser may be supported on useless samples; without A3 the minimum
   misses V_BDS) and instances that meet the hypotheses are in C06_instances.v.

   Not stated: the gradient in w for mu > 0 (b); that gradient steps reach a minimiser (C07). *)

From BDTheory Require Import Base C02 Useful C04.

Section C06.
  Context {P : Problem}.

  (* v(w) = inf F_w for w in the simplex; elsewhere it does not matter. *)
  Definition value_function (v : (nat -> R) -> R) : Prop :=
    forall w, simplex w -> is_inf (fun r => exists theta, r = F w theta) (v w).
  Definition dropped : (nat -> R) -> R := fun _ => 0.

  Definition P_gamma (v : (nat -> R) -> R) (gamma : R) (w : nat -> R) (theta : Theta) : R :=
    L_val theta + gamma * (F w theta - v w).

  (* Under A1 there is such a v, if there are models at all. *)
  Lemma value_function_exists : forall theta0 : Theta, A1 -> exists v, value_function v.
  Proof.
    intros theta0 HA1. pose (E := fun w r => exists theta, r = - F (fun i => Rabs (w i)) theta).
    assert (Hbound : forall w, bound (E w)).
    { intros w. exists 0. intros r [theta ->].
      assert (H := F_pos (fun i => Rabs (w i)) theta HA1 (fun i _ => Rabs_pos (w i))). lra. }
    assert (Hsome : forall w, exists r, E w r) by (intros w; eexists; now exists theta0).
    exists (fun w => - proj1_sig (completeness (E w) (Hbound w) (Hsome w))).
    intros w [Hw _]. destruct (completeness (E w) (Hbound w) (Hsome w)) as [s [Hup Hleast]]; simpl.
    assert (Habs : forall theta, F (fun i => Rabs (w i)) theta = F w theta).
    { intros theta. apply sum_ext. intros i Hi. rewrite Rabs_right; [reflexivity|].
      apply Rle_ge. now apply Hw. }
    split.
    - intros r [theta ->]. assert (H : - F w theta <= s); [|lra].
      apply Hup. exists theta. now rewrite Habs.
    - intros b Hb. assert (H : s <= - b); [|lra]. apply Hleast. intros r [theta ->].
      rewrite Habs. assert (H := Hb (F w theta) (ex_intro _ theta eq_refl)). lra.
  Qed.

  (* "v kept or dropped". *)
  Definition kept_or_dropped (v : (nat -> R) -> R) : Prop := value_function v \/ v = dropped.

  (* The penalty is >= 0, and at a corner of the simplex it is gamma l_i. *)
  Lemma penalty_pos : forall v w theta, A1 -> kept_or_dropped v -> simplex w -> v w <= F w theta.
  Proof.
    intros v w theta HA1 [Hv| ->] Hw.
    - apply (Hv w Hw). now exists theta.
    - apply F_pos; [exact HA1|apply Hw].
  Qed.

  Lemma penalty_corner : forall v gamma i theta, A1 -> kept_or_dropped v -> (i < N)%nat ->
    P_gamma v gamma (e i) theta = L_val theta + gamma * l i theta.
  Proof.
    intros v gamma i theta HA1 Hv Hi. unfold P_gamma. rewrite F_e by exact Hi.
    enough (v (e i) = 0) as -> by ring. destruct Hv as [Hv| ->]; [|reflexivity].
    destruct (Hv (e i) (e_simplex i Hi)) as [Hlow Hbest], (HA1 i Hi) as [Hlow' Hbest'].
    apply Rle_antisym.
    - apply Hbest'. intros r [theta' ->]. rewrite <- F_e by exact Hi.
      apply Hlow. now exists theta'.
    - apply Hbest. intros r [theta' ->]. rewrite F_e by exact Hi. apply Hlow'. now exists theta'.
  Qed.

  (* L_val* is a lower bound. *)
  Lemma P_gamma_above : forall v gamma w theta V, A1 -> kept_or_dropped v -> L_val_star V ->
    0 < gamma -> simplex w -> V <= P_gamma v gamma w theta.
  Proof.
    intros v gamma w theta V HA1 Hv [Hlow _] Hgamma Hw.
    assert (HV : V <= L_val theta) by (apply Hlow; now exists theta).
    assert (Hpen := penalty_pos v w theta HA1 Hv Hw). unfold P_gamma.
    assert (0 <= gamma * (F w theta - v w)) by (apply Rmult_le_pos; lra). lra.
  Qed.

  (* (i) min P_gamma = L_val*, v kept or dropped: a lower bound, and w = e_i attains it for every
     useful i. *)
  Theorem C06_minimum : forall v gamma V, A1 -> A3 -> kept_or_dropped v -> L_val_star V ->
    0 < gamma ->
    (forall w theta, simplex w -> V <= P_gamma v gamma w theta) /\
    (exists i, U i) /\ (forall i, U i -> exists theta, P_gamma v gamma (e i) theta = V).
  Proof.
    intros v gamma V HA1 HA3 Hv HV Hgamma.
    split; [intros w theta; now apply P_gamma_above|split; [exact HA3|]].
    intros i [Hi [theta [HSi HSval]]]. exists theta. rewrite penalty_corner by assumption.
    assert (Hli : l i theta = 0).
    { apply Rle_antisym; [|now apply A1_pos]. apply near_A1; [exact HA1|exact Hi|].
      now apply minimiser_near. }
    assert (HVal := proj2 (at_V_BDS V theta HA3 (proj2 (proj1 (C02_values_A3 HA3) V) HV)) HSval).
    rewrite Hli, HVal. ring.
  Qed.

  (* (iii) Through sequences: inf P_gamma = L_val*, v kept or dropped, and w = e_i comes near it for
     every useful i. *)
  Theorem C06_infimum : forall v gamma V, A1 -> lim_A3 -> kept_or_dropped v -> L_val_star V ->
    0 < gamma ->
    is_inf (fun r => exists w theta, simplex w /\ r = P_gamma v gamma w theta) V /\
    forall i eps, (i < N)%nat -> lim_useful i -> 0 < eps ->
      exists theta, P_gamma v gamma (e i) theta <= V + eps.
  Proof.
    intros v gamma V HA1 [i0 [Hi0 H0]] Hv HV Hgamma.
    assert (Hcorner : forall i eps, (i < N)%nat -> lim_useful i -> 0 < eps ->
              exists theta, P_gamma v gamma (e i) theta <= V + eps).
    { intros i eps Hi Huse Heps. set (d := eps / (1 + gamma)).
      assert (Hd : d * (1 + gamma) = eps) by (unfold d; field; lra).
      assert (Hdpos : 0 < d) by (apply Rdiv_lt_0_compat; lra).
      destruct (Huse d Hdpos) as [theta [HSi HSval]].
      exists theta. rewrite penalty_corner by assumption.
      assert (Hli := near_A1 i d theta HA1 Hi HSi).
      apply Rmult_le_compat_l with (r := gamma) in Hli; [|lra].
      assert (L_val theta - d <= V); [|lra]. apply HV. intros r [theta' [_ ->]].
      specialize (HSval theta'). lra. }
    split; [|exact Hcorner]. split.
    - intros r [w [theta [Hw ->]]]. now apply P_gamma_above.
    - intros b Hb. apply le_epsilon. intros eps Heps.
      destruct (Hcorner i0 eps Hi0 H0 Heps) as [theta Htheta].
      apply Rle_trans with (2 := Htheta). apply Hb. exists (e i0), theta.
      split; [now apply e_simplex|reflexivity].
  Qed.

  (* Of a sum of terms >= 0 with w_i > 0 each l_i is a bounded part. *)
  Lemma part_of_F : forall w theta i, A1 -> simplex w -> (i < N)%nat ->
    w i * l i theta <= F w theta.
  Proof.
    intros w theta i HA1 [Hw _] Hi. apply (sum_term N (fun i => w i * l i theta)); [|exact Hi].
    intros j Hj. apply Rmult_le_pos; [now apply Hw|now apply A1_pos].
  Qed.

  (* (ii) With v dropped, P_gamma = L_val* for some theta exactly when the support of w is jointly
     useful. No A2. *)
  Theorem C06_support : forall gamma w V, A1 -> L_val_star V -> 0 < gamma -> simplex w ->
    ((exists theta, P_gamma dropped gamma w theta = V) <-> jointly_useful (support w)).
  Proof.
    intros gamma w V HA1 [Hlow Hbest] Hgamma Hw. unfold P_gamma, dropped. split.
    - intros [theta Heq]. exists theta.
      assert (HV : V <= L_val theta) by (apply Hlow; now exists theta).
      assert (HF := F_pos w theta HA1 (proj1 Hw)).
      assert (Hpen : 0 <= gamma * F w theta) by (apply Rmult_le_pos; lra).
      assert (HF0 : F w theta <= 0) by (apply Rmult_le_reg_l with gamma; lra). split.
      + intros theta'. assert (V <= L_val theta') by (apply Hlow; now exists theta'). lra.
      + intros i [Hi Hpos] theta'. apply Rle_trans with 0; [|now apply A1_pos].
        assert (Hpart := part_of_F w theta i HA1 Hw Hi). apply Rmult_le_reg_l with (w i); lra.
    - intros [theta [HSval HSi]]. exists theta.
      assert (HF : F w theta = 0).
      { unfold F. rewrite (sum_ext N _ (fun _ => 0)), sum_zero; [reflexivity|]. intros i Hi.
        destruct (proj1 Hw i Hi) as [Hpos|<-]; [|ring].
        enough (l i theta = 0) as -> by ring. apply Rle_antisym; [|now apply A1_pos].
        apply near_A1; [exact HA1|exact Hi|]. apply minimiser_near, HSi. now split. }
      rewrite HF. enough (L_val theta = V) by lra. apply Rle_antisym.
      + apply Hbest. intros r [theta' [_ ->]]. apply HSval.
      + apply Hlow. now exists theta.
  Qed.

  (* (ii) So, under A3, every minimiser is supported on a jointly useful set. *)
  Corollary C06_minimisers : forall gamma w theta, A1 -> A3 -> 0 < gamma -> simplex w ->
    (forall w' theta', simplex w' ->
      P_gamma dropped gamma w theta <= P_gamma dropped gamma w' theta') ->
    jointly_useful (support w).
  Proof.
    intros gamma w theta HA1 HA3 Hgamma Hw Hmin.
    destruct (HA3) as [i [Hi [good [_ Hgood]]]]. assert (HV := L_val_star_at good Hgood).
    apply (C06_support gamma w (L_val good) HA1 HV Hgamma Hw). exists theta.
    destruct (C06_minimum dropped gamma (L_val good) HA1 HA3 (or_intror eq_refl) HV Hgamma)
      as [Habove [_ Hcorner]].
    apply Rle_antisym; [|now apply Habove]. destruct HA3 as [j Hj].
    destruct (Hcorner j Hj) as [theta' <-]. apply Hmin. apply e_simplex, Hj.
  Qed.

  (* Weights that tend to w: in the end none of them is d below its limit. *)
  Lemma weights_stay : forall n (wk : nat -> nat -> R) w d, 0 < d ->
    (forall i, (i < n)%nat -> Un_cv (fun k => wk k i) (w i)) ->
    exists K, forall k i, (K <= k)%nat -> (i < n)%nat -> w i - d < wk k i.
  Proof.
    intros n wk w d Hd. induction n as [|n IH]; intros Hcv; [exists 0%nat; lia|].
    destruct IH as [K HK]; [auto with arith|]. destruct (Hcv n ltac:(lia) d Hd) as [K' HK'].
    exists (max K K'). intros k i Hk Hi.
    destruct (Nat.eq_dec i n) as [->|Hne]; [|apply HK; lia].
    specialize (HK' k ltac:(lia)). unfold R_dist in HK'. apply Rabs_def2 in HK'. lra.
  Qed.

  (* (iii) With v dropped: if P_gamma(theta_k, w_k) -> L_val* and w_k -> w then the support of w is
     jointly useful, through sequences. *)
  Theorem C06_support_lim : forall gamma V w wk (thetak : nat -> Theta), A1 -> L_val_star V ->
    0 < gamma -> simplex w -> (forall k, simplex (wk k)) ->
    (forall i, (i < N)%nat -> Un_cv (fun k => wk k i) (w i)) ->
    Un_cv (fun k => P_gamma dropped gamma (wk k) (thetak k)) V -> lim_jointly_useful (support w).
  Proof.
    intros gamma V w wk thetak HA1 [Hlow _] Hgamma Hw Hwk Hcv Hval eps Heps.
    destruct (least_weight N w) as [c [Hc Hleast]].
    destruct (weights_stay N wk w (c / 2) ltac:(lra) Hcv) as [K HK].
    (* P_gamma <= L_val* + h, with h and h / gamma / (c / 2) below eps *)
    assert (Hprod : 0 < gamma * (c / 2 * eps)) by (repeat apply Rmult_lt_0_compat; lra).
    set (h := Rmin eps (gamma * (c / 2 * eps))).
    assert (Hh : 0 < h) by (apply Rmin_pos; lra).
    assert (Hh1 : h <= eps) by apply Rmin_l.
    assert (Hh2 : h <= gamma * (c / 2 * eps)) by apply Rmin_r.
    destruct (Hval h Hh) as [K' HK']. set (k := max K K'). specialize (HK' k ltac:(lia)).
    unfold R_dist in HK'. apply Rabs_def2 in HK'. unfold P_gamma, dropped in HK'.
    assert (HV : V <= L_val (thetak k)) by (apply Hlow; now exists (thetak k)).
    assert (HF := F_pos (wk k) (thetak k) HA1 (proj1 (Hwk k))).
    assert (Hpen : 0 <= gamma * F (wk k) (thetak k)) by (apply Rmult_le_pos; lra).
    assert (HFc : F (wk k) (thetak k) <= c / 2 * eps) by (apply Rmult_le_reg_l with gamma; lra).
    exists (thetak k). split.
    - intros theta'. assert (V <= L_val theta') by (apply Hlow; now exists theta'). lra.
    - intros i [Hi Hpos] theta'. assert (Hl := A1_pos i theta' HA1 Hi).
      enough (l i (thetak k) <= eps) by lra. specialize (Hleast i Hi Hpos).
      assert (Hwki := HK k i ltac:(lia) Hi).
      assert (Hpart := part_of_F (wk k) (thetak k) i HA1 (Hwk k) Hi).
      assert (Hli := A1_pos i (thetak k) HA1 Hi).
      assert (Hci : c / 2 * l i (thetak k) <= wk k i * l i (thetak k)).
      { apply Rmult_le_compat_r; lra. }
      apply Rmult_le_reg_l with (c / 2); lra.
  Qed.

  (* (iv) Direct mixing is the same function with w frozen at uniform. *)
  Lemma C06_frozen : forall gamma theta, P_gamma dropped gamma uniform theta = mixed gamma theta.
  Proof. intros gamma theta. unfold P_gamma, dropped, mixed. ring. Qed.
End C06.

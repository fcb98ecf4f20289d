(* C01, the converse and the identity: weakly Pareto means optimal for some weights, under A5.

   Models are vectors of R^p. Stated: (i) for convex losses, G(theta) <= g exactly when some w in
   the simplex has F_w(theta) <= v(w) + g: this is G(theta) = min_w [F_w(theta) - v(w)], and the
   minimum is attained. No infimum of a loss need be attained. (ii) C01 in full: under A5, WP is the
   union of the S(w). (iii) The hypotheses can be met: two squares.

   A5 asks for convex and differentiable losses, as the theory does; the proofs use only that the
   l_i are convex. The control is in C01.v: for two wells, which are not convex, theta = 0 is in WP
   and in no S(w).

   Why: of convex functions that are nowhere negative all at once, some weighted mean is nowhere
   negative. For two functions the ratio of the weights is a supremum; more are added one by one.
   Excluded middle is used, to ask whether a function is negative anywhere. *)

From Coq Require Import Classical_Prop.
From BDTheory Require Import Base C01 Vectors.

(* theta + t d, and the point at t on the segment from theta to theta'. *)
Definition step (theta : nat -> R) (t : R) (d : nat -> R) : nat -> R := fun k => theta k + t * d k.
Definition segment (theta theta' : nat -> R) (t : R) : nat -> R :=
  step theta t (fun k => theta' k - theta k).

(* A convex set C, and a function that is convex on C. *)
Definition convex_set (C : (nat -> R) -> Prop) : Prop := forall theta theta' t,
  C theta -> C theta' -> 0 <= t <= 1 -> C (segment theta theta' t).
Definition convex_on (C : (nat -> R) -> Prop) (f : (nat -> R) -> R) : Prop :=
  forall theta theta' t, C theta -> C theta' -> 0 <= t <= 1 ->
  f (segment theta theta' t) <= (1 - t) * f theta + t * f theta'.
Definition convex (f : (nat -> R) -> R) : Prop := convex_on (fun _ => True) f.

(* Along every direction d, (f(theta + t d) - f(theta)) / t -> g.d as t -> 0, g the gradient. *)
Definition gradient (p : nat) (f : (nat -> R) -> R) (theta g : nat -> R) : Prop :=
  forall d eps, 0 < eps -> exists delta, 0 < delta /\ forall t, t <> 0 -> Rabs t < delta ->
    Rabs ((f (step theta t d) - f theta) / t - dot p g d) < eps.
Definition differentiable (p : nat) (f : (nat -> R) -> R) : Prop :=
  forall theta, exists g, gradient p f theta g.

(* Convex functions that are nowhere negative all at once --------------------------------------- *)

(* Two functions: f at a point of f < 0 against h at a point of h < 0. *)
Lemma two_ratios : forall C f h x y, convex_set C -> convex_on C f -> convex_on C h ->
  ~ (exists s, C s /\ f s < 0 /\ h s < 0) -> C x -> C y -> f x < 0 -> h y < 0 ->
  f x * h y <= f y * h x.
Proof.
  intros C f h x y HC Hf Hh Hno Hx Hy Hfx Hhy.
  assert (Hhx : 0 <= h x) by (apply Rnot_lt_le; intros H; apply Hno; now exists x).
  assert (Hfy : 0 <= f y) by (apply Rnot_lt_le; intros H; apply Hno; now exists y).
  apply Rnot_lt_le. intros Hlt. apply Hno.
  (* f < 0 on the segment before t1, h < 0 after t0, and t0 < t1. *)
  set (t0 := h x / (h x - h y)). set (t1 := - f x / (f y - f x)).
  assert (H0 : t0 * (h x - h y) = h x) by (unfold t0; field; lra).
  assert (H1 : t1 * (f y - f x) = - f x) by (unfold t1; field; lra).
  assert (H01 : t0 < t1).
  { apply Rmult_lt_reg_r with ((h x - h y) * (f y - f x)); [apply Rmult_lt_0_compat; lra|].
    replace (t0 * ((h x - h y) * (f y - f x))) with (t0 * (h x - h y) * (f y - f x)) by ring.
    replace (t1 * ((h x - h y) * (f y - f x))) with (t1 * (f y - f x) * (h x - h y)) by ring.
    rewrite H0, H1. lra. }
  assert (Ht0 : 0 <= t0) by (apply Rmult_le_reg_r with (h x - h y); lra).
  assert (Ht1 : t1 <= 1) by (apply Rmult_le_reg_r with (f y - f x); lra).
  set (t := (t0 + t1) / 2). assert (Ht : 0 <= t <= 1) by (unfold t; lra).
  exists (segment x y t). split; [now apply HC|].
  assert (Hft := Hf x y t Hx Hy Ht). assert (Hht := Hh x y t Hx Hy Ht).
  assert (Hf' : t * (f y - f x) < t1 * (f y - f x)) by (apply Rmult_lt_compat_r; unfold t; lra).
  assert (Hh' : t0 * (h x - h y) < t * (h x - h y)) by (apply Rmult_lt_compat_r; unfold t; lra).
  split; lra.
Qed.

(* Two functions: a f + b h >= 0 on C for some a, b >= 0 with a + b = 1. *)
Lemma two_weights : forall C f h, convex_set C -> convex_on C f -> convex_on C h ->
  ~ (exists s, C s /\ f s < 0 /\ h s < 0) ->
  exists a b, 0 <= a /\ 0 <= b /\ a + b = 1 /\ forall s, C s -> 0 <= a * f s + b * h s.
Proof.
  intros C f h HC Hf Hh Hno.
  destruct (classic (exists x, C x /\ f x < 0)) as [[x0 [Hx0 Hfx0]]|Hnof].
  2: { exists 1, 0. repeat split; try lra. intros s Hs.
       enough (0 <= f s) by lra. apply Rnot_lt_le. intros H. apply Hnof. now exists s. }
  destruct (classic (exists y, C y /\ h y < 0)) as [[y0 [Hy0 Hhy0]]|Hnoh].
  2: { exists 0, 1. repeat split; try lra. intros s Hs.
       enough (0 <= h s) by lra. apply Rnot_lt_le. intros H. apply Hnoh. now exists s. }
  assert (Hratio := fun x y => two_ratios C f h x y HC Hf Hh Hno).
  assert (Hnot : forall s, C s -> 0 <= f s \/ 0 <= h s).
  { intros s Hs. destruct (Rle_lt_dec 0 (f s)); [now left|]. right. apply Rnot_lt_le.
    intros H. apply Hno. now exists s. }
  assert (Hhpos : forall x, C x -> f x < 0 -> 0 < h x).
  { intros x Hx Hfx. assert (H := Hratio x y0 Hx Hy0 Hfx Hhy0). destruct (Hnot y0 Hy0); [|lra].
    destruct (Hnot x Hx); [lra|]. nra. }
  (* rho = sup of -f(x) / h(x) over f(x) < 0. *)
  destruct (completeness (fun r => exists x, C x /\ f x < 0 /\ r = - f x / h x))
    as [rho [Hub Hleast]].
  - exists (f y0 / - h y0). intros r [x [Hx [Hfx ->]]]. assert (Hhx := Hhpos x Hx Hfx).
    assert (H := Hratio x y0 Hx Hy0 Hfx Hhy0).
    apply Rmult_le_reg_r with (h x * - h y0); [nra|].
    replace (- f x / h x * (h x * - h y0)) with (f x * h y0) by (field; lra).
    replace (f y0 / - h y0 * (h x * - h y0)) with (f y0 * h x) by (field; lra). exact H.
  - exists (- f x0 / h x0), x0. now repeat split.
  - assert (Habove : forall x, C x -> f x < 0 -> - f x <= rho * h x).
    { intros x Hx Hfx. assert (Hhx := Hhpos x Hx Hfx).
      assert (H : - f x / h x <= rho) by (apply Hub; now exists x).
      apply (Rmult_le_compat_r (h x)) in H; [|lra].
      replace (- f x / h x * h x) with (- f x) in H by (field; lra). exact H. }
    assert (Hbelow : forall y, C y -> h y < 0 -> rho * - h y <= f y).
    { intros y Hy Hhy.
      enough (H : rho <= f y / - h y).
      { apply (Rmult_le_compat_r (- h y)) in H; [|lra].
        replace (f y / - h y * - h y) with (f y) in H by (field; lra). exact H. }
      apply Hleast. intros r [x [Hx [Hfx ->]]]. assert (Hhx := Hhpos x Hx Hfx).
      assert (H := Hratio x y Hx Hy Hfx Hhy).
      apply Rmult_le_reg_r with (h x * - h y); [nra|].
      replace (- f x / h x * (h x * - h y)) with (f x * h y) by (field; lra).
      replace (f y / - h y * (h x * - h y)) with (f y * h x) by (field; lra). exact H. }
    assert (Hrho : 0 < rho).
    { assert (H := Habove x0 Hx0 Hfx0). assert (Hhx := Hhpos x0 Hx0 Hfx0). nra. }
    assert (Hmean : forall s, C s -> 0 <= f s + rho * h s).
    { intros s Hs. destruct (Rle_lt_dec 0 (f s)) as [Hfs|Hfs].
      - destruct (Rle_lt_dec 0 (h s)) as [Hhs|Hhs]; [nra|]. specialize (Hbelow s Hs Hhs). lra.
      - specialize (Habove s Hs Hfs). lra. }
    assert (Hinv : 0 < / (1 + rho)) by (apply Rinv_0_lt_compat; lra).
    exists (/ (1 + rho)), (/ (1 + rho) * rho). repeat split; [lra|nra|field; lra|].
    intros s Hs. specialize (Hmean s Hs).
    replace (/ (1 + rho) * f s + / (1 + rho) * rho * h s)
      with (/ (1 + rho) * (f s + rho * h s)) by ring.
    apply Rmult_le_pos; lra.
Qed.

(* A weighted sum of convex functions is convex. *)
Lemma convex_sum : forall C n w (f : nat -> (nat -> R) -> R),
  (forall i, (i < n)%nat -> 0 <= w i /\ convex_on C (f i)) ->
  convex_on C (fun s => sum n (fun i => w i * f i s)).
Proof.
  intros C n w f H x y t Hx Hy Ht. rewrite <- !sum_scal, <- sum_plus. apply sum_le.
  intros i Hi. destruct (H i Hi) as [Hw Hf]. specialize (Hf x y t Hx Hy Ht).
  apply (Rmult_le_compat_l (w i)) in Hf; [lra|exact Hw].
Qed.

(* Any number of functions. *)
Theorem alternative : forall n C (f : nat -> (nat -> R) -> R), (0 < n)%nat -> convex_set C ->
  (forall i, (i < n)%nat -> convex_on C (f i)) ->
  ~ (exists s, C s /\ forall i, (i < n)%nat -> f i s < 0) ->
  exists w, (forall i, (i < n)%nat -> 0 <= w i) /\ sum n w = 1 /\
    forall s, C s -> 0 <= sum n (fun i => w i * f i s).
Proof.
  induction n as [|n IH]; intros C f Hn HC Hf Hno; [lia|].
  destruct (Nat.eq_dec n 0) as [->|Hpos].
  - exists (fun _ => 1). split; [intros; lra|split; [simpl; lra|]]. intros s Hs. simpl.
    enough (0 <= f 0%nat s) by lra. apply Rnot_lt_le. intros H. apply Hno. exists s.
    split; [exact Hs|]. intros i Hi. now replace i with 0%nat by lia.
  - (* Where f n < 0, the others are nowhere negative all at once. *)
    destruct (IH (fun s => C s /\ f n s < 0) f) as [w' [Hw' [Hsum' Hmean']]]; [lia| | | |].
    + intros x y t [Hx Hfx] [Hy Hfy] Ht. split; [now apply HC|].
      assert (H := Hf n ltac:(lia) x y t Hx Hy Ht). nra.
    + intros i Hi x y t [Hx _] [Hy _] Ht. apply Hf; auto with arith.
    + intros [s [[Hs Hfs] Hall]]. apply Hno. exists s. split; [exact Hs|]. intros i Hi.
      destruct (Nat.eq_dec i n) as [->|Hne]; [exact Hfs|apply Hall; lia].
    + destruct (two_weights C (fun s => sum n (fun i => w' i * f i s)) (f n))
        as [a [b [Ha [Hb [Hab Hmean]]]]]; [exact HC| |apply Hf; lia| |].
      * apply convex_sum. intros i Hi. split; [now apply Hw'|apply Hf; lia].
      * intros [s [Hs [Hneg Hfs]]]. specialize (Hmean' s (conj Hs Hfs)). lra.
      * exists (fun i => if Nat.eqb i n then b else a * w' i).
        assert (Hlow : forall g, sum n (fun i => (if Nat.eqb i n then b else a * w' i) * g i)
                                 = a * sum n (fun i => w' i * g i)).
        { intros g. rewrite <- sum_scal. apply sum_ext. intros i Hi.
          destruct (Nat.eqb_spec i n); [lia|ring]. }
        split; [|split].
        -- intros i Hi. destruct (Nat.eqb_spec i n); [exact Hb|].
           apply Rmult_le_pos; [exact Ha|apply Hw'; lia].
        -- simpl. rewrite Nat.eqb_refl.
           rewrite (sum_ext n _ (fun i => a * w' i)), sum_scal, Hsum'; [lra|].
           intros i Hi. destruct (Nat.eqb_spec i n); [lia|reflexivity].
        -- intros s Hs. simpl. rewrite Nat.eqb_refl, (Hlow (fun i => f i s)). now apply Hmean.
Qed.

(* C01 under A5 --------------------------------------------------------------------------------- *)

Section Converse.
  Variables (p n : nat) (loss : nat -> (nat -> R) -> R) (val : (nat -> R) -> R).

  (* The problem with models in R^p. *)
  Definition vectors : Problem := {| Theta := nat -> R; N := n; l := loss; L_val := val |}.
  #[local] Hint Extern 0 Problem => exact vectors : typeclass_instances.

  (* Losses are convex and differentiable. *)
  Definition A5 : Prop :=
    (forall i, (i < n)%nat -> convex (loss i) /\ differentiable p (loss i)) /\
    convex val /\ differentiable p val.

  (* (i) G(theta) <= g exactly when F_w(theta) - v(w) <= g for some w in the simplex. *)
  Theorem C01_identity : forall theta g, (forall i, (i < n)%nat -> convex (loss i)) ->
    (G_le theta g <-> exists w, simplex w /\ near (F w) g theta).
  Proof.
    intros theta g Hconvex. split; [|intros [w [Hw Hnear]]; now apply C01_gap with w].
    intros HG. assert (Hn : (0 < n)%nat) by (destruct (HG theta) as [i [Hi _]]; simpl in Hi; lia).
    destruct (alternative n (fun _ => True) (fun i s => loss i s + (g - loss i theta)))
      as [w [Hw [Hsum Hmean]]]; [exact Hn|easy| | |].
    - intros i Hi x y t Hx Hy Ht. assert (H := Hconvex i Hi x y t Hx Hy Ht). lra.
    - intros [s [_ Hs]]. destruct (HG s) as [i [Hi Hle]]. specialize (Hs i Hi). simpl in Hle. lra.
    - exists w. assert (Hsimplex : simplex w) by now split. split; [exact Hsimplex|]. intros theta'.
      assert (Hdiff := F_diff w theta theta'). assert (Hg := mean_const w g Hsimplex).
      specialize (Hmean theta' I). simpl in Hdiff, Hg.
      rewrite (sum_ext n _ (fun i => w i * g + -1 * (w i * (loss i theta - loss i theta'))))
        in Hmean by (intros; lra).
      rewrite sum_plus, sum_scal, Hg, Hdiff in Hmean. lra.
  Qed.

  (* (ii) Under A5, theta in WP is in S(w) for some w, and only such theta. *)
  Theorem C01 : forall theta, A5 -> (WP theta <-> BDS_models theta).
  Proof.
    intros theta [HA5 _]. split; [|apply C01_union].
    intros HWP. apply WP_gap, C01_identity in HWP; [|intros i Hi; now apply HA5].
    destruct HWP as [w [Hw Hnear]]. exists w. split; [exact Hw|now apply minimiser_near].
  Qed.
End Converse.

(* (iii) A5 can be met: (theta_1 - c)^2 for two centres, as in C01.v. *)
Definition parabola (c : R) (theta : nat -> R) : R := (theta 0%nat - c) ^ 2.

Lemma parabola_smooth : forall c, convex (parabola c) /\ differentiable 1 (parabola c).
Proof.
  intros c. split.
  - intros theta theta' t _ _ Ht. unfold parabola, segment, step.
    set (u := theta 0%nat). set (v := theta' 0%nat).
    assert (0 <= t * (1 - t) * (v - u) ^ 2).
    { apply Rmult_le_pos; [apply Rmult_le_pos; lra|apply pow2_ge_0]. }
    simpl in *. lra.
  - intros theta. exists (fun _ => 2 * (theta 0%nat - c)). intros d eps Heps.
    set (s := d 0%nat). exists (eps / (s ^ 2 + 1)). assert (Hs := pow2_ge_0 s).
    split; [apply Rdiv_lt_0_compat; lra|]. intros t Ht Hlt. unfold parabola, step, dot. simpl sum.
    fold s. set (u := theta 0%nat - c).
    replace (((theta 0%nat + t * s - c) ^ 2 - u ^ 2) / t - (0 + 2 * u * s)) with (t * s ^ 2)
      by (unfold u; field; exact Ht).
    rewrite Rabs_mult, (Rabs_right (s ^ 2)) by lra.
    apply (Rmult_lt_compat_r (s ^ 2 + 1)) in Hlt; [|lra].
    replace (eps / (s ^ 2 + 1) * (s ^ 2 + 1)) with eps in Hlt by (field; lra).
    assert (Hp := Rabs_pos t). nra.
Qed.

Definition parabolas : Problem := vectors 2 (fun i => parabola (centre i)) (parabola 0).

Example parabolas_A5 : A5 1 2 (fun i => parabola (centre i)) (parabola 0) /\
  WP (P := parabolas) (fun _ => 0).
Proof.
  split; [split; [intros i _|]; apply parabola_smooth|].
  apply C01_forward with (fun _ => 1 / 2); [split; [intros; lra|simpl; lra]|].
  intros theta. unfold F. simpl. unfold parabola, centre. simpl. nra.
Qed.

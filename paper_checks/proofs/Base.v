(* The common definitions of the machine-checked proofs, in the letters of the theory.

   A problem is a type Theta of models, N training losses l i (only i < N counts) and a validation
   loss L_val. No structure is assumed on Theta, nor that losses are convex, continuous or >= 0:
   where a theorem needs more it says so.

   Infima need not be attained. `near f eps theta` says that theta is within eps of the infimum of f
   without naming the infimum, `minimiser` is the case eps = 0, and `lim_...` is the meaning of a
   notion through sequences whose gap tends to 0: for every eps > 0 one theta serves.

   Not here: A5 (convex, differentiable), which needs a vector structure. *)

From Coq Require Export Reals Lra Lia Arith.
Open Scope R_scope.

(* Finite sums ---------------------------------------------------------------------------------- *)

(* sum n f = f 0 + ... + f (n - 1). *)
Fixpoint sum (n : nat) (f : nat -> R) : R :=
  match n with O => 0 | S k => sum k f + f k end.

Lemma sum_ext : forall n f g, (forall i, (i < n)%nat -> f i = g i) -> sum n f = sum n g.
Proof.
  induction n as [|n IH]; intros f g H; simpl; [reflexivity|].
  rewrite (IH f g), (H n); auto with arith.
Qed.

Lemma sum_le : forall n f g, (forall i, (i < n)%nat -> f i <= g i) -> sum n f <= sum n g.
Proof.
  induction n as [|n IH]; intros f g H; simpl; [lra|].
  apply Rplus_le_compat; auto with arith.
Qed.

Lemma sum_plus : forall n f g, sum n (fun i => f i + g i) = sum n f + sum n g.
Proof. induction n as [|n IH]; intros f g; simpl; [|rewrite IH]; lra. Qed.

Lemma sum_scal : forall n c f, sum n (fun i => c * f i) = c * sum n f.
Proof. induction n as [|n IH]; intros c f; simpl; [|rewrite IH]; lra. Qed.

Lemma sum_zero : forall n, sum n (fun _ => 0) = 0.
Proof. induction n as [|n IH]; simpl; [|rewrite IH]; lra. Qed.

Lemma sum_nonneg : forall n f, (forall i, (i < n)%nat -> 0 <= f i) -> 0 <= sum n f.
Proof. intros n f H. rewrite <- (sum_zero n). now apply sum_le. Qed.

(* A term of a sum of non-negative terms is at most the sum. *)
Lemma sum_term : forall n f i,
  (forall j, (j < n)%nat -> 0 <= f j) -> (i < n)%nat -> f i <= sum n f.
Proof.
  induction n as [|n IH]; intros f i H Hi; simpl; [lia|].
  assert (Hn : 0 <= f n) by auto with arith.
  destruct (Nat.eq_dec i n) as [->|Hne].
  - assert (0 <= sum n f) by (apply sum_nonneg; auto with arith). lra.
  - assert (f i <= sum n f) by (apply IH; [auto with arith|lia]). lra.
Qed.

Lemma sum_swap : forall n m (f : nat -> nat -> R),
  sum n (fun i => sum m (fun j => f i j)) = sum m (fun j => sum n (fun i => f i j)).
Proof.
  induction n as [|n IH]; intros m f; simpl.
  - now rewrite sum_zero.
  - rewrite IH. symmetry. apply (sum_plus m (fun j => sum n (fun i => f i j)) (f n)).
Qed.

(* A search among the first n numbers: one of them has Q, or all of them have Q'. *)
Lemma search : forall n (Q Q' : nat -> Prop), (forall i, (i < n)%nat -> Q i \/ Q' i) ->
  (exists i, (i < n)%nat /\ Q i) \/ (forall i, (i < n)%nat -> Q' i).
Proof.
  induction n as [|n IH]; intros Q Q' H; [right; lia|].
  destruct (IH Q Q') as [[i [Hi HQ]]|Hall]; [auto with arith|left; eauto with arith|].
  destruct (H n) as [HQ|HQ]; [auto with arith|left; eauto with arith|right; intros i Hi].
  destruct (Nat.eq_dec i n) as [->|Hne]; [assumption|apply Hall; lia].
Qed.

(* The problem ---------------------------------------------------------------------------------- *)

Class Problem := {
  Theta : Type;                 (* models *)
  N : nat;                      (* number of training samples *)
  l : nat -> Theta -> R;        (* l i theta: loss of training sample i < N *)
  L_val : Theta -> R            (* validation loss *)
}.

(* v is the infimum of the set E of numbers. *)
Definition is_inf (E : R -> Prop) (v : R) : Prop :=
  (forall r, E r -> v <= r) /\ (forall b, (forall r, E r -> b <= r) -> b <= v).

Section Definitions.
  Context {P : Problem}.

  Definition minimiser (f : Theta -> R) (theta : Theta) : Prop :=
    forall theta', f theta <= f theta'.

  (* f theta <= inf f + eps. *)
  Definition near (f : Theta -> R) (eps : R) (theta : Theta) : Prop :=
    forall theta', f theta <= f theta' + eps.

  (* S_i and S_val: what fits sample i, or the validation data, best. *)
  Definition S_i (i : nat) : Theta -> Prop := minimiser (l i).
  Definition S_val : Theta -> Prop := minimiser L_val.

  (* The simplex Delta_N, its corner e i, the support of w. *)
  Definition simplex (w : nat -> R) : Prop :=
    (forall i, (i < N)%nat -> 0 <= w i) /\ sum N w = 1.
  Definition e (i : nat) : nat -> R := fun j => if Nat.eqb j i then 1 else 0.
  Definition support (w : nat -> R) (i : nat) : Prop := (i < N)%nat /\ 0 < w i.

  (* F_w = sum_i w_i l_i, and S(w), its minimisers. *)
  Definition F (w : nat -> R) (theta : Theta) : R := sum N (fun i => w i * l i theta).
  Definition S_w (w : nat -> R) : Theta -> Prop := minimiser (F w).

  (* Weakly Pareto: no theta' lowers every loss. *)
  Definition WP (theta : Theta) : Prop :=
    ~ exists theta', forall i, (i < N)%nat -> l i theta' < l i theta.

  (* The Pareto gap G(theta) = sup over theta' of min_i (l_i(theta) - l_i(theta')) is <= g. *)
  Definition G_le (theta : Theta) (g : R) : Prop :=
    forall theta', exists i, (i < N)%nat /\ l i theta - l i theta' <= g.

  (* Useful: S_i meets S_val. U is the set of useful samples. *)
  Definition useful (i : nat) : Prop := exists theta, S_i i theta /\ S_val theta.
  Definition U (i : nat) : Prop := (i < N)%nat /\ useful i.

  Definition A1 : Prop :=
    forall i, (i < N)%nat -> is_inf (fun r => exists theta, r = l i theta) 0.
  Definition A2 : Prop := exists theta, forall i, (i < N)%nat -> S_i i theta.
  Definition A3 : Prop := exists i, U i.
  Definition A4 : Prop := exists i, (i < N)%nat /\ ~ useful i.

  (* The best models of a set A for L_val, and the infimum of L_val over A. *)
  Definition best_on (A : Theta -> Prop) (theta : Theta) : Prop :=
    A theta /\ forall theta', A theta' -> L_val theta <= L_val theta'.
  Definition value_on (A : Theta -> Prop) (v : R) : Prop :=
    is_inf (fun r => exists theta, A theta /\ r = L_val theta) v.
  Definition L_val_star (v : R) : Prop := value_on (fun _ => True) v.

  (* BDS, optimistic: L_val over w in the simplex and theta in S(w). BMO: L_val over WP. *)
  Definition BDS_models (theta : Theta) : Prop := exists w, simplex w /\ S_w w theta.
  Definition BDS_optimal (w : nat -> R) (theta : Theta) : Prop :=
    simplex w /\ S_w w theta /\
    forall w' theta', simplex w' -> S_w w' theta' -> L_val theta <= L_val theta'.
  Definition V_BDS (v : R) : Prop := value_on BDS_models v.
  Definition V_BMO (v : R) : Prop := value_on WP v.

  (* The same where infima need not be attained. *)
  Definition lim_useful (i : nat) : Prop :=
    forall eps, 0 < eps -> exists theta, near (l i) eps theta /\ near L_val eps theta.
  Definition lim_A2 : Prop :=
    forall eps, 0 < eps -> exists theta, forall i, (i < N)%nat -> near (l i) eps theta.
  Definition lim_A3 : Prop := exists i, (i < N)%nat /\ lim_useful i.

  (* Along some sequence with F_w -> v(w), or with G -> 0, liminf of L_val is <= r. *)
  Definition reaches (w : nat -> R) (r : R) : Prop :=
    forall eps, 0 < eps -> exists theta, near (F w) eps theta /\ L_val theta <= r + eps.
  Definition WP_reaches (r : R) : Prop :=
    forall eps, 0 < eps -> exists theta, G_le theta eps /\ L_val theta <= r + eps.
  Definition lim_V_BDS (v : R) : Prop := is_inf (fun r => exists w, simplex w /\ reaches w r) v.
  Definition lim_V_BMO (v : R) : Prop := is_inf WP_reaches v.
  Definition lim_BDS_optimal (w : nat -> R) : Prop :=
    simplex w /\ exists v, lim_V_BDS v /\ reaches w v.
End Definitions.

(* Weights -------------------------------------------------------------------------------------- *)

Section Weights.
  Context {P : Problem}.

  Lemma sum_e : forall n i f, (i < n)%nat -> sum n (fun j => e i j * f j) = f i.
  Proof.
    intros n i f. unfold e. induction n as [|n IH]; intros Hi; simpl; [lia|].
    destruct (Nat.eqb_spec n i) as [->|Hne].
    - rewrite (sum_ext i _ (fun _ => 0)), sum_zero; [lra|].
      intros j Hj. destruct (Nat.eqb_spec j i); [lia|lra].
    - rewrite IH; [lra|lia].
  Qed.

  Lemma e_simplex : forall i, (i < N)%nat -> simplex (e i).
  Proof.
    intros i Hi. split.
    - intros j _. unfold e. destruct (Nat.eqb j i); lra.
    - rewrite (sum_ext N _ (fun j => e i j * 1)); [now rewrite sum_e|intros; lra].
  Qed.

  Lemma F_e : forall i theta, (i < N)%nat -> F (e i) theta = l i theta.
  Proof. intros i theta Hi. now apply (sum_e N i (fun j => l j theta)). Qed.

  (* S(e_i) = S_i, with any tolerance. *)
  Lemma near_e : forall i eps theta,
    (i < N)%nat -> (near (F (e i)) eps theta <-> near (l i) eps theta).
  Proof.
    intros i eps theta Hi. split; intros H theta'; specialize (H theta');
      rewrite ?F_e in *; trivial.
  Qed.

  Lemma minimiser_near : forall f theta, minimiser f theta <-> near f 0 theta.
  Proof. intros f theta. split; intros H theta'; specialize (H theta'); lra. Qed.

  Lemma S_w_e : forall i theta, (i < N)%nat -> (S_w (e i) theta <-> S_i i theta).
  Proof.
    intros i theta Hi. unfold S_w, S_i. rewrite !minimiser_near. now apply near_e.
  Qed.

  (* The weighted mean of a number is that number. *)
  Lemma mean_const : forall w c, simplex w -> sum N (fun i => w i * c) = c.
  Proof.
    intros w c [_ Hsum].
    rewrite (sum_ext N _ (fun i => c * w i)), sum_scal, Hsum; [lra|intros; lra].
  Qed.

  Lemma F_diff : forall w theta theta',
    sum N (fun i => w i * (l i theta - l i theta')) = F w theta - F w theta'.
  Proof.
    intros w theta theta'. unfold F.
    rewrite (sum_ext N _ (fun i => w i * l i theta + -1 * (w i * l i theta'))) by (intros; lra).
    rewrite sum_plus, sum_scal. lra.
  Qed.

  (* Some weight is positive. *)
  Lemma support_nonempty : forall w, simplex w -> exists i, support w i.
  Proof.
    intros w [Hw Hsum].
    destruct (search N (fun i => 0 < w i) (fun i => w i = 0)) as [H|H].
    - intros i Hi. specialize (Hw i Hi). destruct (Req_dec (w i) 0); [now right|left; lra].
    - exact H.
    - rewrite (sum_ext N w (fun _ => 0)), sum_zero in Hsum; [lra|exact H].
  Qed.

  (* Averages: where every l_i falls by more than g, so does F_w. *)
  Lemma F_falls : forall w theta theta' g, simplex w ->
    (forall i, (i < N)%nat -> g < l i theta - l i theta') -> g < F w theta - F w theta'.
  Proof.
    intros w theta theta' g Hw Hg.
    assert (Hsum : sum N (fun i => w i * (l i theta - l i theta' + - g))
                   = F w theta - F w theta' - g).
    { rewrite (sum_ext N _ (fun i => w i * (l i theta - l i theta') + w i * - g))
        by (intros; lra).
      rewrite sum_plus, F_diff, mean_const; [lra|exact Hw]. }
    destruct (support_nonempty w Hw) as [i [Hi Hpos]]. destruct Hw as [Hw _].
    assert (Hterm := sum_term N (fun j => w j * (l j theta - l j theta' + - g)) i).
    assert (Hi' := Hg i Hi). simpl in Hterm.
    assert (0 < w i * (l i theta - l i theta' + - g)) by (apply Rmult_lt_0_compat; lra).
    enough (w i * (l i theta - l i theta' + - g) <= F w theta - F w theta' - g) by lra.
    rewrite <- Hsum. apply Hterm; [|exact Hi].
    intros j Hj. specialize (Hg j Hj). specialize (Hw j Hj). apply Rmult_le_pos; lra.
  Qed.
End Weights.

(* Exponentials --------------------------------------------------------------------------------- *)

Lemma exp_le_compat : forall x y, x <= y -> exp x <= exp y.
Proof. intros x y [H| ->]; [left; now apply exp_increasing|lra]. Qed.

Lemma exp_small : forall eps, 0 < eps -> exp (- / eps) < eps.
Proof.
  intros eps Heps. assert (Hinv := Rinv_0_lt_compat eps Heps).
  rewrite exp_Ropp. rewrite <- (Rinv_inv eps) at 2. apply Rinv_lt_contravar.
  - apply Rmult_lt_0_compat; [exact Hinv|apply exp_pos].
  - assert (H := exp_ineq1 (/ eps) ltac:(lra)). lra.
Qed.

(* Vectors of R^p as functions nat -> R of which the first p values count, and Gordan's theorem.

   Stated: for finitely many vectors of R^p either some theta has a positive product with all of
   them, or a non-zero, non-negative combination of them is 0.

   The proof is Fourier and Motzkin's elimination of the last coordinate. *)

From Coq Require Import List.
From BDTheory Require Import Base.

(* x.theta in R^p. *)
Definition dot (p : nat) (x theta : nat -> R) : R := sum p (fun k => x k * theta k).

Lemma dot_0 : forall p x, dot p x (fun _ => 0) = 0.
Proof.
  intros p x. unfold dot. rewrite (sum_ext p _ (fun _ => 0)); [apply sum_zero|intros; lra].
Qed.

Lemma dot_scal : forall p x t theta, dot p x (fun k => t * theta k) = t * dot p x theta.
Proof.
  intros p x t theta. unfold dot. rewrite <- sum_scal. apply sum_ext. intros; lra.
Qed.

Lemma dot_combine : forall p x y s t theta,
  dot p (fun k => s * x k + t * y k) theta = s * dot p x theta + t * dot p y theta.
Proof.
  intros p x y s t theta. unfold dot. rewrite <- !sum_scal, <- sum_plus.
  apply sum_ext. intros; lra.
Qed.

(* Gordan's theorem ----------------------------------------------------------------------------- *)

(* Sums of members of V with positive factors. *)
Inductive combo (V : list (nat -> R)) : (nat -> R) -> Prop :=
| combo_in : forall v, In v V -> combo V v
| combo_add : forall s t x y, 0 < s -> 0 < t -> combo V x -> combo V y ->
    combo V (fun k => s * x k + t * y k).

Lemma combo_trans : forall V W x, (forall w, In w W -> combo V w) -> combo W x -> combo V x.
Proof.
  intros V W x H Hx. induction Hx as [w Hw|s t x y Hs Ht _ IHx _ IHy]; [auto|].
  now apply combo_add.
Qed.

Lemma combo_zero : forall V x k, (forall v, In v V -> v k = 0) -> combo V x -> x k = 0.
Proof.
  intros V x k H Hx. induction Hx as [v Hv|s t x y Hs Ht _ IHx _ IHy]; [auto|].
  rewrite IHx, IHy. lra.
Qed.

(* Room above a, below all of B. *)
Lemma room : forall B a, (forall b, In b B -> a < b) ->
  exists t, a < t /\ forall b, In b B -> t < b.
Proof.
  induction B as [|b B IH]; intros a H; [exists (a + 1); split; [lra|now intros]|].
  destruct (IH a) as [t [Ht HB]]; [intros; apply H; now right|].
  assert (Hab : a < b) by (apply H; now left).
  exists (Rmin t ((a + b) / 2)). split; [apply Rmin_glb_lt; lra|].
  assert (Hl := Rmin_l t ((a + b) / 2)). assert (Hr := Rmin_r t ((a + b) / 2)).
  intros b' [<-|Hb']; [lra|]. specialize (HB b' Hb'). lra.
Qed.

(* A number above all of A and below all of B. *)
Lemma between : forall A B, (forall a b, In a A -> In b B -> a < b) ->
  exists t, (forall a, In a A -> a < t) /\ (forall b, In b B -> t < b).
Proof.
  induction A as [|a A IH]; intros B H.
  - assert (Hbelow : exists a, forall b, In b B -> a < b).
    { clear H. induction B as [|b B [a Ha]]; [exists 0; now intros|]. exists (Rmin a b - 1).
      assert (Hl := Rmin_l a b). assert (Hr := Rmin_r a b).
      intros b' [<-|Hb']; [lra|]. specialize (Ha b' Hb'). lra. }
    destruct Hbelow as [a Ha]. exists a. split; [now intros|exact Ha].
  - destruct (IH B) as [t [HA HB]]; [intros; apply H; [now right|assumption]|].
    destruct (room B (Rmax a t)) as [t' [Ht' HB']].
    { intros b Hb. apply Rmax_lub_lt; [apply H; [now left|exact Hb]|now apply HB]. }
    assert (Hl := Rmax_l a t). assert (Hr := Rmax_r a t). exists t'. split; [|exact HB'].
    intros a' [<-|Ha']; [lra|]. specialize (HA a' Ha'). lra.
Qed.

Definition is_pos (x : R) : bool := if Rlt_dec 0 x then true else false.

Lemma is_pos_spec : forall x, is_pos x = true <-> 0 < x.
Proof. intros x. unfold is_pos. destruct (Rlt_dec 0 x); split; congruence || tauto. Qed.

(* Members of V whose coordinate k is positive, negative; the combination of two that cancels it. *)
Definition above (k : nat) (V : list (nat -> R)) := filter (fun v => is_pos (v k)) V.
Definition below (k : nat) (V : list (nat -> R)) := filter (fun v => is_pos (- v k)) V.
Definition cancel (k : nat) (u v : nat -> R) : nat -> R := fun k' => - v k * u k' + u k * v k'.

(* Elimination of coordinate k. *)
Definition eliminate (k : nat) (V : list (nat -> R)) : list (nat -> R) :=
  filter (fun v => negb (is_pos (v k)) && negb (is_pos (- v k)))%bool V ++
  flat_map (fun u => map (cancel k u) (below k V)) (above k V).

Lemma in_above : forall k V v, In v (above k V) <-> In v V /\ 0 < v k.
Proof. intros. unfold above. now rewrite filter_In, is_pos_spec. Qed.

Lemma in_below : forall k V v, In v (below k V) <-> In v V /\ v k < 0.
Proof.
  intros. unfold below. rewrite filter_In, is_pos_spec.
  split; intros [Hin H]; (split; [exact Hin|lra]).
Qed.

Lemma in_eliminate : forall k V w, In w (eliminate k V) <->
  (In w V /\ w k = 0) \/
  exists u v, In u V /\ 0 < u k /\ In v V /\ v k < 0 /\ w = cancel k u v.
Proof.
  intros k V w. unfold eliminate. rewrite in_app_iff, filter_In, in_flat_map. split.
  - intros [[Hin H]|[u [Hu H]]]; [left|right].
    + split; [exact Hin|]. apply andb_prop in H. destruct H as [H1 H2].
      unfold is_pos in H1, H2. destruct (Rlt_dec 0 (w k)), (Rlt_dec 0 (- w k)); try discriminate.
      lra.
    + apply in_map_iff in H. destruct H as [v [<- Hv]].
      apply in_above in Hu. apply in_below in Hv. exists u, v. tauto.
  - intros [[Hin H]|[u [v [Hu [Hpos [Hv [Hneg ->]]]]]]]; [left|right].
    + split; [exact Hin|]. unfold is_pos.
      destruct (Rlt_dec 0 (w k)); [lra|]. destruct (Rlt_dec 0 (- w k)); [lra|reflexivity].
    + exists u. split; [now apply in_above|]. apply in_map_iff. exists v.
      split; [reflexivity|now apply in_below].
Qed.

(* Put t at coordinate p of theta. *)
Definition put (p : nat) (t : R) (theta : nat -> R) : nat -> R :=
  fun k => if Nat.eqb k p then t else theta k.

Lemma dot_put : forall p v t theta, dot (S p) v (put p t theta) = dot p v theta + v p * t.
Proof.
  intros p v t theta. unfold dot, put. simpl. rewrite Nat.eqb_refl. f_equal.
  apply sum_ext. intros k Hk. destruct (Nat.eqb_spec k p); [lia|reflexivity].
Qed.

Lemma gordan_list : forall p (V : list (nat -> R)),
  (exists theta, forall v, In v V -> 0 < dot p v theta) \/
  (exists x, combo V x /\ forall k, (k < p)%nat -> x k = 0).
Proof.
  induction p as [|p IH]; intros V.
  - destruct V as [|v V]; [left; exists (fun _ => 0); now intros|].
    right. exists v. split; [apply combo_in; now left|lia].
  - destruct (IH (eliminate p V)) as [[theta H]|[x [Hx Hzero]]].
    + left. destruct (between (map (fun u => - dot p u theta / u p) (above p V))
                              (map (fun v => dot p v theta / - v p) (below p V))) as [t [Hlo Hhi]].
      { intros a b Ha Hb. apply in_map_iff in Ha. apply in_map_iff in Hb.
        destruct Ha as [u [<- Hu]]. destruct Hb as [v [<- Hv]].
        apply in_above in Hu. apply in_below in Hv. destruct Hu as [Hu Hpos], Hv as [Hv Hneg].
        assert (Hc : 0 < dot p (cancel p u v) theta).
        { apply H, in_eliminate. right. now exists u, v. }
        unfold cancel in Hc. rewrite dot_combine in Hc.
        apply Rmult_lt_reg_r with (u p * - v p); [nra|].
        replace (- dot p u theta / u p * (u p * - v p)) with (- dot p u theta * - v p)
          by (field; lra).
        replace (dot p v theta / - v p * (u p * - v p)) with (dot p v theta * u p)
          by (field; lra).
        lra. }
      exists (put p t theta). intros v Hv. rewrite dot_put.
      destruct (Rtotal_order (v p) 0) as [Hneg|[Hz|Hpos]].
      * assert (Ht : t < dot p v theta / - v p).
        { apply Hhi, in_map_iff. exists v. split; [reflexivity|now apply in_below]. }
        apply (Rmult_lt_compat_r (- v p)) in Ht; [|lra].
        replace (dot p v theta / - v p * - v p) with (dot p v theta) in Ht by (field; lra). lra.
      * rewrite Hz, Rmult_0_l, Rplus_0_r. apply H, in_eliminate. left. now split.
      * assert (Ht : - dot p v theta / v p < t).
        { apply Hlo, in_map_iff. exists v. split; [reflexivity|now apply in_above]. }
        apply (Rmult_lt_compat_r (v p)) in Ht; [|lra].
        replace (- dot p v theta / v p * v p) with (- dot p v theta) in Ht by (field; lra). lra.
    + right. exists x. split.
      * apply combo_trans with (eliminate p V); [|exact Hx]. intros w Hw. apply in_eliminate in Hw.
        destruct Hw as [[Hw _]|[u [v [Hu [Hpos [Hv [Hneg ->]]]]]]]; [now apply combo_in|].
        unfold cancel. apply combo_add; try lra; now apply combo_in.
      * intros k Hk. destruct (Nat.eq_dec k p) as [->|Hne]; [|apply Hzero; lia].
        apply combo_zero with (eliminate p V); [|exact Hx]. intros w Hw. apply in_eliminate in Hw.
        destruct Hw as [[_ Hw]|[u [v [_ [_ [_ [_ ->]]]]]]]; [exact Hw|unfold cancel; lra].
Qed.

(* The same with coefficients: v_0, ..., v_{n-1} and a >= 0, not all 0, with sum_j a_j v_j = 0. *)
Theorem gordan : forall p n (v : nat -> nat -> R),
  (exists theta, forall j, (j < n)%nat -> 0 < dot p (v j) theta) \/
  (exists a, (forall j, (j < n)%nat -> 0 <= a j) /\ 0 < sum n a /\
    forall k, (k < p)%nat -> sum n (fun j => a j * v j k) = 0).
Proof.
  intros p n v. destruct (gordan_list p (map v (seq 0 n))) as [[theta H]|[x [Hx Hzero]]].
  - left. exists theta. intros j Hj. apply H, in_map, in_seq. lia.
  - right. enough (Ha : exists a, (forall j, (j < n)%nat -> 0 <= a j) /\ 0 < sum n a /\
      forall k, x k = sum n (fun j => a j * v j k)).
    { destruct Ha as [a [Ha [Hsum Hk]]]. exists a. split; [exact Ha|split; [exact Hsum|]].
      intros k Hkp. rewrite <- Hk. auto. }
    clear Hzero. induction Hx as [w Hw|s t x y Hs Ht _ [a [Ha [Hsa Hax]]] _ [b [Hb [Hsb Hby]]]].
    + apply in_map_iff in Hw. destruct Hw as [j [<- Hj]]. apply in_seq in Hj. exists (e j).
      split; [intros j' _; unfold e; destruct (Nat.eqb j' j); lra|split].
      * rewrite (sum_ext n _ (fun j' => e j j' * 1)), sum_e; [lra|lia|intros; lra].
      * intros k. now rewrite (sum_e n j (fun j' => v j' k)) by lia.
    + exists (fun j => s * a j + t * b j). split; [|split].
      * intros j Hj. specialize (Ha j Hj). specialize (Hb j Hj). nra.
      * rewrite sum_plus, !sum_scal. nra.
      * intros k. rewrite Hax, Hby, <- !sum_scal, <- sum_plus. apply sum_ext. intros; lra.
Qed.

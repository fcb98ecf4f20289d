(* Caratheodory's theorem, with 0 as the point.

   Stated: where a weighted mean of finitely many vectors of R^p is 0, with weights >= 0 of sum 1,
   one with at most p + 1 non-zero weights is 0, and these are among the vectors that had one.

   Why: more than p + 1 vectors satisfy a linear relation whose factors have the sum 0; along it the
   weights can be moved until one of them is 0. *)

From Coq Require Import List.
From BDTheory Require Import Base.

(* More unknowns, J, than equations, m: a solution that is not 0 and lives on J. *)
Lemma dependence : forall n m (a : nat -> nat -> R) (J : list nat), NoDup J ->
  (forall j, In j J -> (j < n)%nat) -> (m < length J)%nat ->
  exists c, (exists j, In j J /\ c j <> 0) /\ (forall j, ~ In j J -> c j = 0) /\
    forall k, (k < m)%nat -> sum n (fun j => c j * a k j) = 0.
Proof.
  intros n. induction m as [|m IH]; intros a J HJ Hn Hlen.
  - destruct J as [|j J]; [simpl in Hlen; lia|]. exists (e j). split; [|split; [|lia]].
    + exists j. split; [now left|]. unfold e. rewrite Nat.eqb_refl. lra.
    + intros j' Hj'. unfold e. destruct (Nat.eqb_spec j' j) as [->|]; [|reflexivity].
      exfalso. apply Hj'. now left.
  - assert (Hdec : forall j, {a m j <> 0} + {~ a m j <> 0})
      by (intros j; destruct (Req_EM_T (a m j) 0); [now right; auto|now left]).
    destruct (Exists_dec _ J Hdec) as [Hex|Hno].
    + (* Solve equation m for the unknown j0. *)
      apply Exists_exists in Hex. destruct Hex as [j0 [Hin Hj0]].
      destruct (in_split j0 J Hin) as [A [B ->]]. rewrite app_length in Hlen. simpl in Hlen.
      destruct (NoDup_remove A B j0 HJ) as [HAB Hnot].
      assert (Hsub : forall j, In j (A ++ B) -> In j (A ++ j0 :: B))
        by (intros j; rewrite !in_app_iff; simpl; tauto).
      destruct (IH (fun k j => a k j + - (a k j0 / a m j0) * a m j) (A ++ B))
        as [c [[j [Hj Hcj]] [Hoff Hc]]]; [exact HAB|auto|rewrite app_length; lia|].
      set (s := - sum n (fun j => c j * a m j) / a m j0).
      assert (Hsum : forall k, sum n (fun j => (c j + s * e j0 j) * a k j)
                               = sum n (fun j => c j * a k j) + s * a k j0).
      { intros k. rewrite <- (sum_e n j0 (fun j => a k j)) by auto.
        rewrite <- sum_scal, <- sum_plus. apply sum_ext. intros; ring. }
      exists (fun j => c j + s * e j0 j). split; [|split].
      * exists j. split; [auto|]. unfold e. destruct (Nat.eqb_spec j j0) as [->|]; [tauto|lra].
      * intros j' Hj'. unfold e. destruct (Nat.eqb_spec j' j0) as [->|Hne].
        -- exfalso. apply Hj'. rewrite in_app_iff. simpl. tauto.
        -- rewrite Hoff; [ring|auto].
      * intros k Hk. rewrite Hsum. destruct (Nat.eq_dec k m) as [->|Hne].
        -- unfold s. field. exact Hj0.
        -- specialize (Hc k ltac:(lia)).
           rewrite (sum_ext n _ (fun j => c j * a k j + - (a k j0 / a m j0) * (c j * a m j)))
             in Hc by (intros; ring).
           rewrite sum_plus, sum_scal in Hc. unfold s. rewrite <- Hc. field. exact Hj0.
    + (* Equation m says nothing on J. *)
      destruct (IH a J) as [c [Hsome [Hoff Hc]]]; [exact HJ|exact Hn|lia|].
      exists c. split; [exact Hsome|split; [exact Hoff|]]. intros k Hk.
      destruct (Nat.eq_dec k m) as [->|Hne]; [|apply Hc; lia].
      rewrite (sum_ext n _ (fun _ => 0)), sum_zero; [reflexivity|]. intros j _.
      destruct (in_dec Nat.eq_dec j J) as [Hj|Hj]; [|rewrite Hoff by exact Hj; ring].
      destruct (Req_dec (a m j) 0) as [->|H]; [ring|].
      exfalso. apply Hno, Exists_exists. now exists j.
Qed.

(* Among the j with c_j > 0 one has the least r_j. *)
Lemma least_ratio : forall (J : list nat) (c r : nat -> R), (exists j, In j J /\ 0 < c j) ->
  exists j, In j J /\ 0 < c j /\ forall j', In j' J -> 0 < c j' -> r j <= r j'.
Proof.
  intros J c r. induction J as [|i J IH]; intros [j0 [Hj0 Hc0]]; [destruct Hj0|].
  destruct (Exists_dec (fun j => 0 < c j) J (fun j => Rlt_dec 0 (c j))) as [Hex|Hno].
  - apply Exists_exists in Hex. destruct (IH Hex) as [j [Hj [Hc Hleast]]].
    destruct (Rlt_dec 0 (c i)) as [Hi|Hi].
    + destruct (Rle_lt_dec (r i) (r j)) as [Hle|Hlt].
      * exists i. split; [now left|split; [exact Hi|]]. intros j' [<-|Hj'] Hc'; [lra|].
        specialize (Hleast j' Hj' Hc'). lra.
      * exists j. split; [now right|split; [exact Hc|]]. intros j' [<-|Hj'] Hc'; [lra|auto].
    + exists j. split; [now right|split; [exact Hc|]]. intros j' [<-|Hj'] Hc'; [lra|auto].
  - assert (Hnone : forall j, In j J -> ~ 0 < c j)
      by (intros j Hj H; apply Hno, Exists_exists; now exists j).
    destruct Hj0 as [->|Hj0]; [|now specialize (Hnone j0 Hj0)].
    exists j0. split; [now left|split; [exact Hc0|]].
    intros j' [<-|Hj'] Hc'; [lra|now specialize (Hnone j' Hj')].
Qed.

(* w >= 0 with sum 1 that lives on J and has sum_i w_i g_i = 0 in R^p. *)
Definition balanced (p n : nat) (g : nat -> nat -> R) (J : list nat) (w : nat -> R) : Prop :=
  NoDup J /\ (forall j, In j J -> (j < n)%nat) /\ (forall i, (i < n)%nat -> 0 <= w i) /\
  (forall i, (i < n)%nat -> ~ In i J -> w i = 0) /\ sum n w = 1 /\
  forall k, (k < p)%nat -> sum n (fun i => w i * g i k) = 0.

(* One sample fewer, as long as there are more than p + 1. *)
Lemma one_fewer : forall p n g J w, balanced p n g J w -> (S p < length J)%nat ->
  exists J' w', incl J' J /\ S (length J') = length J /\ balanced p n g J' w'.
Proof.
  intros p n g J w [HJ [Hn [Hw [Hoff [Hsum Hg]]]]] Hlen.
  destruct (dependence n (S p) (fun k i => if Nat.eqb k p then 1 else g i k) J)
    as [c [[j1 [Hj1 Hc1]] [Hcoff Hc]]]; [exact HJ|exact Hn|exact Hlen|].
  assert (Hcsum : sum n c = 0).
  { rewrite <- (Hc p) by lia. apply sum_ext. intros i _. rewrite Nat.eqb_refl. ring. }
  assert (Hcg : forall k, (k < p)%nat -> sum n (fun i => c i * g i k) = 0).
  { intros k Hk. rewrite <- (Hc k) by lia. apply sum_ext. intros i _.
    destruct (Nat.eqb_spec k p); [lia|reflexivity]. }
  assert (Hpos : exists j, In j J /\ 0 < c j).
  { destruct (Exists_dec (fun j => 0 < c j) J (fun j => Rlt_dec 0 (c j))) as [Hex|Hno];
      [now apply Exists_exists in Hex|]. exfalso. apply Hc1.
    assert (Hneg : forall j, (j < n)%nat -> 0 <= -1 * c j).
    { intros j Hj. destruct (in_dec Nat.eq_dec j J) as [Hin|Hin]; [|rewrite Hcoff by auto; lra].
      destruct (Rlt_dec 0 (c j)); [|lra]. exfalso. apply Hno, Exists_exists. now exists j. }
    assert (H := sum_term n (fun j => -1 * c j) j1 Hneg (Hn j1 Hj1)).
    rewrite sum_scal, Hcsum in H. specialize (Hneg j1 (Hn j1 Hj1)). lra. }
  destruct (least_ratio J c (fun j => w j / c j) Hpos) as [j0 [Hj0 [Hc0 Hleast]]].
  set (t := w j0 / c j0) in *. assert (Ht0 : t * c j0 = w j0) by (unfold t; field; lra).
  assert (Ht : 0 <= t).
  { apply Rmult_le_reg_r with (c j0); [exact Hc0|]. rewrite Ht0, Rmult_0_l. auto. }
  assert (Hlin : forall f, sum n (fun i => (w i + - t * c i) * f i)
                           = sum n (fun i => w i * f i) + - t * sum n (fun i => c i * f i)).
  { intros f. rewrite <- sum_scal, <- sum_plus. apply sum_ext. intros; ring. }
  destruct (in_split j0 J Hj0) as [A [B HAB]].
  assert (Hsub : forall j, In j J <-> j = j0 \/ In j (A ++ B)).
  { intros j. rewrite HAB, !in_app_iff. simpl. split; [intros [H|[H|H]]|intros [H|[H|H]]]; auto. }
  rewrite HAB in HJ. destruct (NoDup_remove A B j0 HJ) as [HJ' _].
  exists (A ++ B), (fun i => w i + - t * c i).
  split; [intros j Hj; apply Hsub; now right|split; [rewrite HAB, !app_length; simpl; lia|]].
  split; [exact HJ'|split; [intros j Hj; apply Hn, Hsub; now right|split; [|split; [|split]]]].
  - intros i Hi. specialize (Hw i Hi). destruct (Rlt_dec 0 (c i)) as [Hci|Hci]; [|nra].
    destruct (in_dec Nat.eq_dec i J) as [Hin|Hin]; [|rewrite Hcoff by exact Hin; lra].
    specialize (Hleast i Hin Hci). apply (Rmult_le_compat_r (c i)) in Hleast; [|lra].
    replace (w i / c i * c i) with (w i) in Hleast by (field; lra). lra.
  - intros i Hi Hout. destruct (Nat.eq_dec i j0) as [->|Hne]; [lra|].
    assert (Hin : ~ In i J) by (intros H; apply Hsub in H; tauto).
    rewrite Hoff, Hcoff by assumption. ring.
  - rewrite sum_plus, sum_scal, Hsum, Hcsum. ring.
  - intros k Hk. rewrite Hlin, (Hg k Hk), (Hcg k Hk). ring.
Qed.

(* Caratheodory: if a weighted mean of vectors of R^p is 0, a mean of at most p + 1 of those with a
   weight is 0. *)
Theorem caratheodory : forall p n g m J w, length J = m -> balanced p n g J w ->
  exists J' w', incl J' J /\ (length J' <= p + 1)%nat /\ balanced p n g J' w'.
Proof.
  intros p n g. induction m as [|m IH]; intros J w Hlen Hw.
  - exists J, w. split; [apply incl_refl|split; [lia|exact Hw]].
  - destruct (le_lt_dec (S m) (p + 1)) as [Hle|Hlt].
    + exists J, w. split; [apply incl_refl|split; [lia|exact Hw]].
    + destruct (one_fewer p n g J w Hw) as [J1 [w1 [Hin1 [Hlen1 Hw1]]]]; [lia|].
      destruct (IH J1 w1) as [J2 [w2 [Hin2 [Hlen2 Hw2]]]]; [lia|exact Hw1|].
      exists J2, w2. split; [now apply incl_tran with J1|now split].
Qed.

(* Farkas' lemma for usefulness under the logistic loss, and C03 (b) for every useless sample.

   Stated, with strictly separable validation data: (i) a sample has a witness, some theta with all
   validation margins and its own at least 1, or a certificate. (ii) With A1 it is useful exactly
   when it has a witness and useless exactly when it has a certificate. (iii) So C03 (b) holds as it
   is claimed: with A1 and A3, BDS-optimal weights vanish off the useful samples.

   Useful, A3 and optimal are meant through sequences, as nothing is attained. Not stated:
   anything for validation data that are not separable. *)

From BDTheory Require Import Base C01 C02 C02_limits Vectors Logistic C03_logistic.

Section Farkas.
  Variables (p n m : nat) (z zt : nat -> nat -> R).
  #[local] Hint Extern 0 Problem => exact (logistic p n m z zt) : typeclass_instances.

  (* All margins in question are at least 1 at theta. *)
  Definition witness (i : nat) (theta : nat -> R) : Prop :=
    (forall j, (j < m)%nat -> 1 <= dot p (zt j) theta) /\ 1 <= dot p (z i) theta.

  (* Finitely many positive margins are at least 1 further out on the ray. *)
  Lemma scale_up : forall n' (v : nat -> nat -> R) theta,
    (forall j, (j < n')%nat -> 0 < dot p (v j) theta) ->
    exists t, 0 < t /\ forall j, (j < n')%nat -> 1 <= t * dot p (v j) theta.
  Proof.
    induction n' as [|n' IH]; intros v theta H; [exists 1; split; [lra|lia]|].
    destruct (IH v theta) as [t [Ht Hall]]; [auto with arith|].
    assert (Hlast : 0 < dot p (v n') theta) by (apply H; lia).
    assert (Hinv := Rinv_0_lt_compat _ Hlast). exists (t + / dot p (v n') theta). split; [lra|].
    intros j Hj. rewrite Rmult_plus_distr_r. destruct (Nat.eq_dec j n') as [->|Hne].
    - rewrite Rinv_l; nra.
    - specialize (Hall j ltac:(lia)). specialize (H j Hj). nra.
  Qed.

  (* (i) Farkas: a witness or a certificate. *)
  Theorem farkas : forall i, separable p m zt ->
    (exists theta, witness i theta) \/ (exists a, certificate p m z zt a i).
  Proof.
    intros i [sep Hsep]. set (v := fun j => if Nat.ltb j m then zt j else z i).
    assert (Hv : forall j, (j < m)%nat -> v j = zt j).
    { intros j Hj. unfold v. apply Nat.ltb_lt in Hj. now rewrite Hj. }
    assert (Hvm : v m = z i) by (unfold v; now rewrite Nat.ltb_irrefl).
    destruct (gordan p (S m) v) as [[theta H]|[a [Ha [Hsum Hk]]]].
    - left. destruct (scale_up (S m) v theta H) as [t [Ht Hall]].
      exists (fun k => t * theta k). split.
      + intros j Hj. rewrite dot_scal, <- (Hv j Hj). apply Hall. lia.
      + rewrite dot_scal, <- Hvm. apply Hall. lia.
    - right. simpl in Hsum, Hk. rewrite Hvm in Hk.
      assert (Hk' : forall k, (k < p)%nat -> sum m (fun j => a j * zt j k) + a m * z i k = 0).
      { intros k Hkp. rewrite <- (Hk k Hkp). f_equal. apply sum_ext. intros j Hj.
        now rewrite (Hv j Hj). }
      destruct (Ha m ltac:(lia)) as [Hpos|Hzero].
      + exists (fun j => a j / a m). split.
        * intros j Hj. apply Rle_mult_inv_pos; [auto with arith|exact Hpos].
        * intros k Hkp. specialize (Hk' k Hkp).
          rewrite (sum_ext m _ (fun j => / a m * (a j * zt j k))) by (intros; field; lra).
          rewrite sum_scal. apply Rmult_eq_reg_l with (a m); [|lra].
          rewrite <- Rmult_assoc, Rinv_r; lra.
      + (* z_i is not needed: then sum_j a_j z~_j = 0, and each a_j is 0 by separability. *)
        exfalso. assert (Hc : certificate p m (fun _ _ => 0) zt a 0).
        { split; [auto with arith|]. intros k Hkp. specialize (Hk' k Hkp). nra. }
        assert (Hm := certificate_margin p m _ zt a 0 sep Hc). unfold dot at 1 in Hm.
        rewrite (sum_ext p _ (fun _ => 0)), sum_zero in Hm by (intros; lra).
        assert (Hterms : forall j, (j < m)%nat -> 0 <= a j * dot p (zt j) sep).
        { intros j Hj. apply Rmult_le_pos; [auto with arith|left; auto]. }
        rewrite (sum_ext m a (fun _ => 0)), sum_zero in Hsum; [lra|]. intros j Hj.
        assert (Hterm := sum_term m (fun j => a j * dot p (zt j) sep) j Hterms Hj). simpl in Hterm.
        specialize (Hsep j Hj). specialize (Ha j ltac:(lia)). nra.
  Qed.

  (* A witness, scaled up, serves both losses. *)
  Lemma witness_useful : forall i theta, witness i theta -> lim_useful i.
  Proof.
    intros i theta [Hval Hi] eps Heps.
    assert (Hval' : forall j, (j < m)%nat -> 0 < dot p (zt j) theta).
    { intros j Hj. specialize (Hval j Hj). lra. }
    assert (Hi' : 0 < dot p (z i) theta) by lra.
    destruct (@L_val_far p n m z zt theta eps Hval' Heps) as [t1 [Ht1 H1]].
    destruct (@log_loss_far p (z i) theta eps Hi' Heps) as [t2 [Ht2 H2]].
    exists (fun k => (t1 + t2) * theta k). specialize (H1 (t1 + t2) ltac:(lra)).
    specialize (H2 (t1 + t2) ltac:(lra)). split; intros theta'.
    - assert (Hl := @l_nonneg p n m z zt i theta'). simpl in *. lra.
    - assert (Hl := @L_val_nonneg p n m z zt theta'). lra.
  Qed.

  (* (ii) Useful exactly when there is a witness. *)
  Theorem logistic_useful : forall i, separable p m zt -> A1 -> (i < n)%nat ->
    (lim_useful i <-> exists theta, witness i theta).
  Proof.
    intros i Hsep HA1 Hi. split.
    - intros Huse. destruct (farkas i Hsep) as [H|[a Ha]]; [exact H|].
      exfalso. now apply (C03_certificate_useless p n m z zt a i).
    - intros [theta H]. now apply witness_useful with theta.
  Qed.

  (* (ii) Useless exactly when there is a certificate. *)
  Theorem logistic_useless : forall i, separable p m zt -> A1 -> (i < n)%nat ->
    (~ lim_useful i <-> exists a, certificate p m z zt a i).
  Proof.
    intros i Hsep HA1 Hi. split.
    - intros Huseless. destruct (farkas i Hsep) as [[theta H]|H]; [|exact H].
      exfalso. apply Huseless. now apply witness_useful with theta.
    - intros [a Ha]. now apply C03_certificate_useless with a.
  Qed.

  (* (iii) C03 (b): logistic loss, strictly separable validation data, A1, A3, not A2: optimal
     weights are 0 on every useless sample. *)
  Theorem C03_logistic : forall w i, separable p m zt -> A1 -> lim_A3 -> lim_BDS_optimal w ->
    (i < n)%nat -> ~ lim_useful i -> w i = 0.
  Proof.
    intros w i Hsep HA1 HA3 Hopt Hi Huseless.
    destruct (proj1 (logistic_useless i Hsep HA1 Hi) Huseless) as [a Ha].
    now apply (C03_logistic_zero p n m z zt w a i).
  Qed.
End Farkas.

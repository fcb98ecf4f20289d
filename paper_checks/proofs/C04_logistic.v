(* C04(b), BDS beats unfiltered direct mixing at every ratio: logistic loss.

   Stated: strictly separable validation data, A1, A3, A4, lam > 0; not A2. (i) V_BDS = L_val* = 0,
   while L_val stays above one d > 0 at every theta within 1 of the infimum of direct mixing; so
   (ii) liminf L_val > V_BDS along every sequence that minimises L_val + lam (1/N) sum_i l_i.
   (iii) An instance. (iv) Control, validation data that are not separable: two useless samples, and
   the minimising sequences of direct mixing are those of L_val, so the gap is 0.

   No infimum is attained here: useful, A3, A4 and V_BDS are meant through sequences. Not stated:
   that the gap is of order lam; squared loss (C04.v); mu > 0. *)

From BDTheory Require Import Base C01 C02_limits Vectors Logistic C03_logistic Farkas.
From BDTheory Require Import C03_instance C03_controls Useful C04.

Section C04_logistic.
  Variables (p n m : nat) (z zt : nat -> nat -> R).
  #[local] Hint Extern 0 Problem => exact (logistic p n m z zt) : typeclass_instances.

  (* A4 through sequences. *)
  Definition lim_A4 : Prop := exists i, (i < n)%nat /\ ~ lim_useful i.

  (* At theta = 0 all losses are log 2; so near the infimum lam l_i / N <= (1 + lam) log 2 + 1. *)
  Lemma mixed_bound : forall lam theta i, 0 < lam -> (i < n)%nat -> near (mixed lam) 1 theta ->
    lam * (/ INR n * l i theta) <= (1 + lam) * ln 2 + 1.
  Proof.
    intros lam theta i Hlam Hi Hnear. assert (Hn : (0 < n)%nat) by lia.
    assert (Hw : simplex uniform) by exact (@uniform_simplex (logistic p n m z zt) Hn).
    specialize (Hnear (fun _ => 0)). unfold mixed in Hnear. rewrite (F_0 uniform Hw) in Hnear.
    assert (HL0 : L_val (fun _ => 0) <= ln 2).
    { simpl. assert (Hln := ln_lt_2). destruct (Nat.eq_dec m 0) as [->|Hm]; [simpl; lra|].
      rewrite (sum_ext m _ (fun _ => ln 2)) by (intros; now rewrite dot_0, log_loss_0).
      rewrite sum_const, <- Rmult_assoc, Rinv_l; [lra|now apply not_0_INR]. }
    assert (HLpos := @L_val_nonneg p n m z zt theta).
    assert (Hpart : uniform i * l i theta <= F uniform theta).
    { apply (sum_term n (fun i => uniform i * l i theta)); [|exact Hi].
      intros j Hj. apply Rmult_le_pos; [now apply Hw|apply l_nonneg]. }
    apply Rmult_le_compat_l with (r := lam) in Hpart; [|lra].
    change (uniform i) with (/ INR n) in Hpart. lra.
  Qed.

  (* V_BDS = L_val* = 0. *)
  Lemma logistic_V_BDS : separable p m zt -> lim_A3 -> L_val_star 0 /\ lim_V_BDS 0.
  Proof.
    intros [sep Hsep] HA3.
    assert (Hstar : L_val_star 0).
    { split; [intros r [theta [_ ->]]; apply L_val_nonneg|].
      intros b Hb. apply le_epsilon. intros eps Heps.
      destruct (@L_val_far p n m z zt sep eps Hsep Heps) as [t [_ Ht]].
      specialize (Ht t (Rle_refl t)). rewrite Rplus_0_l. apply Rle_trans with (2 := Ht).
      apply Hb. now exists (fun k => t * sep k). }
    split; [exact Hstar|]. now apply (proj1 (C02_lim_values_A3 HA3)).
  Qed.

  (* (i) At every lam > 0 there is a d > 0 with L_val > V_BDS + d wherever direct mixing is within 1
     of its infimum; V_BDS = 0. *)
  Theorem C04_logistic : forall lam, separable p m zt -> A1 -> lim_A3 -> lim_A4 -> 0 < lam ->
    lim_V_BDS 0 /\ exists d, 0 < d /\ forall theta, near (mixed lam) 1 theta -> d < L_val theta.
  Proof.
    intros lam Hsep HA1 HA3 [i [Hi Huseless]] Hlam. split; [now apply logistic_V_BDS|].
    destruct (proj1 (logistic_useless p n m z zt i Hsep HA1 Hi) Huseless) as [a Ha].
    assert (Hn : 0 < INR n) by (apply lt_0_INR; lia).
    destruct (C03_logistic.certificate_conflict p n m z zt a i
                (((1 + lam) * ln 2 + 1) * INR n / lam) HA1 Hi Ha) as [d [Hd H]].
    exists d. split; [exact Hd|]. intros theta Hnear. apply Rnot_le_lt. intros Hle.
    specialize (H theta Hle). assert (Hbound := mixed_bound lam theta i Hlam Hi Hnear).
    apply Rmult_lt_compat_l with (r := lam * / INR n) in H.
    - replace (lam * / INR n * (((1 + lam) * ln 2 + 1) * INR n / lam))
        with ((1 + lam) * ln 2 + 1) in H by (field; lra). lra.
    - apply Rmult_lt_0_compat; [lra|now apply Rinv_0_lt_compat].
  Qed.

  (* (ii) liminf L_val > V_BDS = 0 along the minimising sequences of direct mixing. *)
  Corollary C04_logistic_liminf : forall lam (thetak : nat -> Theta),
    separable p m zt -> A1 -> lim_A3 -> lim_A4 -> 0 < lam ->
    (forall eps, 0 < eps -> exists K, forall k, (K <= k)%nat -> near (mixed lam) eps (thetak k)) ->
    exists d, 0 < d /\ exists K, forall k, (K <= k)%nat -> d < L_val (thetak k).
  Proof.
    intros lam thetak Hsep HA1 HA3 HA4 Hlam Hcv.
    destruct (C04_logistic lam Hsep HA1 HA3 HA4 Hlam) as [_ [d [Hd H]]].
    destruct (Hcv 1 Rlt_0_1) as [K HK]. exists d. split; [exact Hd|]. exists K. auto.
  Qed.
End C04_logistic.

(* (iii) One dimension, validation row 1, training rows 1 and -1. *)
Example C04_signs : separable 1 1 (fun _ => row 1) /\ A1 (P := signs) /\ lim_A3 (P := signs) /\
  lim_A4 1 2 1 (fun i => row (centre i)) (fun _ => row 1).
Proof.
  split; [exact signs_separable|split; [exact signs_A1|split; [exact signs_A3|]]].
  exists 1%nat. split; [lia|]. apply logistic_useless; [exact signs_separable|exact signs_A1|lia|].
  exists (row 1). exact signs_certificate.
Qed.

(* (iv) Control: validation rows (1,0), (-1,0), (0,1), training rows (0,1), (1,0), (-1,0). The
   mixture is (1 + lam) L_val, so what comes near its infimum comes near L_val*. *)
Example C04_cross : forall lam eps theta, 0 < lam -> 0 < eps ->
  near (mixed (P := cross) lam) eps theta -> near (@L_val cross) eps theta.
Proof.
  intros lam eps theta Hlam Heps Hnear.
  assert (H : forall t, mixed (P := cross) lam t = (1 + lam) * @L_val cross t).
  { intros t. unfold mixed. rewrite cross_L_val. destruct (cross_l t) as [H0 [H1 H2]].
    unfold F, uniform. simpl N. simpl sum. simpl INR. simpl in H0, H1, H2 |- *.
    rewrite H0, H1, H2. field. }
  intros theta'. specialize (Hnear theta'). rewrite !H in Hnear.
  apply Rmult_le_reg_l with (1 + lam); [lra|].
  assert (0 <= lam * eps) by (apply Rmult_le_pos; lra). lra.
Qed.

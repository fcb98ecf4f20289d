(* Letting the weights move adds nothing: the lemma on infima that are not attained.

   Stated, for losses >= 0: (i) for every w and eps > 0 there is a delta > 0 such that a theta
   within delta of the infimum of F_{w'}, with w' within delta of w, is within eps of the infimum of
   F_w. (ii) So if w_k -> w and F_{w_k}(theta_k) - v(w_k) -> 0 then F_w(theta_k) - v(w) -> 0. (iii)
   Weights from the simplex that serve for every eps have a limit that serves for all of them.

   Excluded middle is used, for the point that comes within eps of an infimum and for limits. *)

From Coq Require Import Classical_Prop.
From BDTheory Require Import Base C01.

(* A function that is bounded below comes within eps of its infimum. *)
Lemma near_exists : forall (P : Problem) (f : Theta -> R) b (theta0 : Theta) eps,
  (forall theta, b <= f theta) -> 0 < eps -> exists theta, near f eps theta.
Proof.
  intros P f b theta0 eps Hb Heps.
  destruct (completeness (fun r => exists theta, r = - f theta)) as [v [Hub Hleast]].
  - exists (- b). intros r [theta ->]. specialize (Hb theta). lra.
  - now exists (- f theta0), theta0.
  - destruct (classic (exists theta, v - eps < - f theta)) as [[theta H]|Hno].
    + exists theta. intros theta'. assert (- f theta' <= v) by (apply Hub; now exists theta'). lra.
    + exfalso. assert (v <= v - eps); [|lra]. apply Hleast. intros r [theta ->].
      apply Rnot_lt_le. intros H. apply Hno. now exists theta.
Qed.

(* The positive ones of finitely many numbers >= 0 are at least some c > 0. *)
Lemma least_positive : forall n (w : nat -> R), (forall i, (i < n)%nat -> 0 <= w i) ->
  exists c, 0 < c /\ forall i, (i < n)%nat -> w i = 0 \/ c <= w i.
Proof.
  induction n as [|n IH]; intros w Hw; [exists 1; split; [lra|lia]|].
  destruct (IH w) as [c [Hc H]]; [auto with arith|].
  assert (Hn : w n = 0 \/ 0 < w n) by (destruct (Hw n); [lia|now right|now left]).
  assert (Hl := Rmin_l c (w n)). assert (Hr := Rmin_r c (w n)).
  destruct Hn as [Hn|Hn]; [exists c|exists (Rmin c (w n))];
    (split; [try apply Rmin_pos; assumption|]); intros i Hi;
    (destruct (Nat.eq_dec i n) as [->|Hne];
      [|destruct (H i ltac:(lia)); [now left|right; lra]]); [now left|now right].
Qed.

Section Moving.
  Context {P : Problem}.

  (* (i) Near w, a small gap for w' is a small gap for w. *)
  Theorem near_weights : forall w eps, (forall i theta, (i < N)%nat -> 0 <= l i theta) ->
    simplex w -> 0 < eps -> exists delta, 0 < delta /\ forall w' theta, simplex w' ->
      (forall i, (i < N)%nat -> Rabs (w' i - w i) < delta) ->
      near (F w') delta theta -> near (F w) eps theta.
  Proof.
    intros w eps Hl [Hw Hsum] Heps.
    (* Without any theta nothing is asked. *)
    destruct (classic (exists theta0 : Theta, True)) as [[theta0 _]|Hempty].
    2: { exists 1. split; [lra|]. intros w' theta. exfalso. apply Hempty. now exists theta. }
    assert (Hpos : forall w' theta, (forall i, (i < N)%nat -> 0 <= w' i) -> 0 <= F w' theta).
    { intros w' theta Hw'. apply sum_nonneg. intros i Hi. apply Rmult_le_pos; auto. }
    destruct (near_exists P (F w) 0 theta0 (eps / 4)) as [best Hbest]; [auto|lra|].
    destruct (least_positive N w Hw) as [c [Hc Hleast]].
    (* (1 - d) F_w(theta) <= F_{w'}(theta) <= F_w(best) + delta (B + 1), d, delta small. *)
    set (B := sum N (fun i => l i best)). assert (HB : 0 <= B) by (apply sum_nonneg; auto).
    assert (HF := Hpos w best Hw).
    set (d := Rmin 1 eps / (4 * (F w best + 1))).
    assert (Hmin := Rmin_l 1 eps). assert (Hmin' := Rmin_r 1 eps).
    assert (Hm : 0 < Rmin 1 eps) by (apply Rmin_pos; lra).
    assert (Hd : 0 < d) by (unfold d; apply Rdiv_lt_0_compat; lra).
    assert (HdF : d * (F w best + 1) = Rmin 1 eps / 4) by (unfold d; field; lra).
    assert (Hdle : d <= Rmin 1 eps / 4) by nra.
    set (delta := Rmin (d * c) (eps / (8 * (B + 1)))).
    assert (Hdel1 := Rmin_l (d * c) (eps / (8 * (B + 1)))).
    assert (Hdel2 := Rmin_r (d * c) (eps / (8 * (B + 1)))). fold delta in Hdel1, Hdel2.
    assert (Hdel : 0 < delta).
    { apply Rmin_pos; [now apply Rmult_lt_0_compat|apply Rdiv_lt_0_compat; lra]. }
    assert (HdB : delta * (B + 1) <= eps / 8).
    { apply (Rmult_le_compat_r (B + 1)) in Hdel2; [|lra].
      replace (eps / (8 * (B + 1)) * (B + 1)) with (eps / 8) in Hdel2 by (field; lra). lra. }
    exists delta. split; [exact Hdel|]. intros w' theta [Hw' _] Hnearby Hnear.
    assert (Hlow : (1 - d) * F w theta <= F w' theta).
    { unfold F. rewrite <- sum_scal. apply sum_le. intros i Hi. rewrite <- Rmult_assoc.
      apply Rmult_le_compat_r; [auto|]. specialize (Hnearby i Hi). apply Rabs_def2 in Hnearby.
      specialize (Hw' i Hi). destruct (Hleast i Hi) as [-> |Hci]; [lra|nra]. }
    assert (Hhigh : F w' best <= F w best + delta * B).
    { unfold F, B. rewrite <- sum_scal, <- sum_plus. apply sum_le. intros i Hi.
      specialize (Hnearby i Hi). apply Rabs_def2 in Hnearby.
      rewrite <- Rmult_plus_distr_r. apply Rmult_le_compat_r; [auto|lra]. }
    assert (Hmid := Hnear best). intros theta'. specialize (Hbest theta').
    enough (F w theta <= F w best + 3 / 4 * eps) by lra.
    apply Rnot_lt_le. intros Hlt. nra.
  Qed.

  (* (ii) w_k -> w and F_{w_k}(theta_k) - v(w_k) -> 0 give F_w(theta_k) - v(w) -> 0. *)
  Theorem C01_moving_weights : forall (wk : nat -> nat -> R) w (thetak : nat -> Theta),
    (forall i theta, (i < N)%nat -> 0 <= l i theta) ->
    (forall k, simplex (wk k)) -> simplex w ->
    (forall i, (i < N)%nat -> Un_cv (fun k => wk k i) (w i)) ->
    (forall eps, 0 < eps -> exists K, forall k, (K <= k)%nat -> near (F (wk k)) eps (thetak k)) ->
    forall eps, 0 < eps -> exists K, forall k, (K <= k)%nat -> near (F w) eps (thetak k).
  Proof.
    intros wk w thetak Hl Hwk Hw Hcv Hgap eps Heps.
    destruct (near_weights w eps Hl Hw Heps) as [delta [Hdelta H]].
    assert (Hall : exists K, forall k i, (K <= k)%nat -> (i < N)%nat ->
      Rabs (wk k i - w i) < delta).
    { clear - Hcv Hdelta. induction N as [|n IH]; [exists 0%nat; lia|].
      destruct IH as [K HK]; [auto with arith|]. destruct (Hcv n ltac:(lia) delta) as [K' HK'];
        [lra|]. exists (max K K'). intros k i Hk Hi.
      destruct (Nat.eq_dec i n) as [->|Hne]; [apply HK'; lia|apply HK; lia]. }
    destruct Hall as [K1 H1]. destruct (Hgap delta Hdelta) as [K2 H2].
    exists (max K1 K2). intros k Hk. apply H with (wk k); [apply Hwk| |apply H2; lia].
    intros i Hi. apply H1; [lia|exact Hi].
  Qed.
End Moving.

(* (iii) Limits of weights ---------------------------------------------------------------------- *)

(* One coordinate: for every eps some w serves with w_i near c. c is an upper limit. *)
Lemma cluster_one : forall (Q : (nat -> R) -> R -> Prop) i,
  (forall w a b, a <= b -> Q w a -> Q w b) -> (forall w a, Q w a -> 0 <= w i <= 1) ->
  (forall eps, 0 < eps -> exists w, Q w eps) ->
  exists c, forall eps, 0 < eps -> exists w, Q w eps /\ Rabs (w i - c) < eps.
Proof.
  intros Q i Hmono Hbox H.
  destruct (completeness (fun x => forall eps, 0 < eps -> exists w, Q w eps /\ x <= w i))
    as [c [Hub Hleast]].
  - exists 1. intros x Hx. destruct (Hx 1) as [w [HQ Hle]]; [lra|]. specialize (Hbox w 1 HQ). lra.
  - exists 0. intros eps Heps. destruct (H eps Heps) as [w HQ]. exists w. split; [exact HQ|].
    now apply (Hbox w eps).
  - exists c. intros eps Heps.
    (* Below c: weights with w_i > c - eps for every tolerance. Above c: none for some tolerance. *)
    destruct (classic (exists x, c - eps < x /\
      forall e', 0 < e' -> exists w, Q w e' /\ x <= w i)) as [[x [Hx Hall]]|Hno].
    2: { exfalso. assert (c <= c - eps); [|lra]. apply Hleast. intros x Hx. apply Rnot_lt_le.
         intros Hlt. apply Hno. now exists x. }
    destruct (classic (exists e', 0 < e' /\ forall w, Q w e' -> w i < c + eps))
      as [[e' [He' Habove]]|Hno].
    + assert (Hl := Rmin_l eps e'). assert (Hr := Rmin_r eps e').
      destruct (Hall (Rmin eps e')) as [w [HQ Hle]]; [now apply Rmin_pos|]. exists w.
      split; [now apply (Hmono w (Rmin eps e'))|].
      assert (w i < c + eps) by (apply Habove; now apply (Hmono w (Rmin eps e'))).
      apply Rabs_def1; lra.
    + exfalso. assert (c + eps <= c); [|lra]. apply Hub. intros e' He'.
      apply NNPP. intros Hnone. apply Hno. exists e'. split; [exact He'|]. intros w HQ.
      apply Rnot_le_lt. intros Hle. apply Hnone. now exists w.
Qed.

(* All coordinates below n. *)
Lemma cluster : forall n (Q : (nat -> R) -> R -> Prop),
  (forall w a b, a <= b -> Q w a -> Q w b) ->
  (forall w a i, (i < n)%nat -> Q w a -> 0 <= w i <= 1) ->
  (forall eps, 0 < eps -> exists w, Q w eps) ->
  exists c, forall eps, 0 < eps ->
    exists w, Q w eps /\ forall i, (i < n)%nat -> Rabs (w i - c i) < eps.
Proof.
  induction n as [|n IH]; intros Q Hmono Hbox H.
  - exists (fun _ => 0). intros eps Heps. destruct (H eps Heps) as [w HQ]. exists w.
    split; [exact HQ|lia].
  - destruct (cluster_one Q n Hmono) as [cn Hcn]; [intros w a; apply Hbox; lia|exact H|].
    destruct (IH (fun w eps => Q w eps /\ Rabs (w n - cn) < eps)) as [c Hc].
    + intros w a b Hab [HQ Hlt]. split; [now apply (Hmono w a)|lra].
    + intros w a i Hi [HQ _]. apply (Hbox w a); [lia|exact HQ].
    + exact Hcn.
    + exists (fun i => if Nat.eqb i n then cn else c i). intros eps Heps.
      destruct (Hc eps Heps) as [w [[HQ Hlt] Hall]]. exists w. split; [exact HQ|]. intros i Hi.
      destruct (Nat.eqb_spec i n) as [->|Hne]; [exact Hlt|apply Hall; lia].
Qed.

(* If for every eps some w in the simplex has a theta with F_w(theta) <= v(w) + eps and
   L_val(theta) <= r + eps, then one w has one for every eps. *)
Theorem limit_weights : forall (P : Problem) r, (forall i theta, (i < N)%nat -> 0 <= l i theta) ->
  (forall eps, 0 < eps -> exists w theta,
    simplex w /\ near (F w) eps theta /\ L_val theta <= r + eps) ->
  exists w, simplex w /\ reaches w r.
Proof.
  intros P r Hl H.
  destruct (cluster N (fun w eps => simplex w /\ exists theta,
    near (F w) eps theta /\ L_val theta <= r + eps)) as [c Hc].
  - intros w a b Hab [Hw [theta [Hnear Hval]]]. split; [exact Hw|]. exists theta.
    split; [intros theta'; specialize (Hnear theta')|]; lra.
  - intros w a i Hi [[Hw Hsum] _]. split; [now apply Hw|]. rewrite <- Hsum. now apply sum_term.
  - intros eps Heps. destruct (H eps Heps) as [w [theta [Hw Hrest]]]. exists w.
    split; [exact Hw|now exists theta].
  - assert (Hsimplex : simplex c).
    { split.
      - intros i Hi. apply le_epsilon. intros eps Heps. destruct (Hc eps Heps) as [w [[Hw _] Hn]].
        specialize (Hn i Hi). apply Rabs_def2 in Hn. assert (H0 := proj1 Hw i Hi). lra.
      - (* |sum c - 1| <= N eps for every eps. *)
        assert (Hclose : forall eps, 0 < eps -> Rabs (sum N c - 1) <= INR N * eps).
        { intros eps Heps. destruct (Hc eps Heps) as [w [[[_ Hsum] _] Hn]]. rewrite <- Hsum.
          clear - Hn. induction N as [|n IH]; simpl sum.
          - rewrite Rminus_eq_0, Rabs_R0. simpl. lra.
          - rewrite S_INR. replace (sum n c + c n - (sum n w + w n))
              with (sum n c - sum n w + (c n - w n)) by ring.
            assert (Htri := Rabs_triang (sum n c - sum n w) (c n - w n)).
            assert (Hlast := Hn n ltac:(lia)). rewrite Rabs_minus_sym in Hlast.
            assert (Hrest := IH (fun i Hi => Hn i (Nat.lt_lt_succ_r _ _ Hi))). lra. }
        destruct (Req_dec (sum N c - 1) 0) as [Hz|Hz]; [lra|]. exfalso.
        assert (Hpos := Rabs_pos_lt _ Hz). assert (HN := pos_INR N).
        specialize (Hclose (Rabs (sum N c - 1) / (2 * (INR N + 1)))).
        assert (Heps : 0 < Rabs (sum N c - 1) / (2 * (INR N + 1)))
          by (apply Rdiv_lt_0_compat; lra).
        specialize (Hclose Heps). set (q := Rabs (sum N c - 1) / (2 * (INR N + 1))) in *.
        assert (Hq : q * (2 * (INR N + 1)) = Rabs (sum N c - 1)) by (unfold q; field; lra). nra. }
    exists c. split; [exact Hsimplex|]. intros eps Heps.
    destruct (near_weights c eps Hl Hsimplex Heps) as [delta [Hdelta Hmove]].
    assert (Hmin := Rmin_l eps delta). assert (Hmin' := Rmin_r eps delta).
    destruct (Hc (Rmin eps delta)) as [w [[Hw [theta [Hnear Hval]]] Hn]]; [now apply Rmin_pos|].
    exists theta. split; [|lra]. apply (Hmove w); [exact Hw| |].
    + intros i Hi. specialize (Hn i Hi). lra.
    + intros theta'. specialize (Hnear theta'). lra.
Qed.

(* The hypotheses of (ii) can be met ------------------------------------------------------------ *)

(* Weights that move, w_k = (1 - h, h) with h = 1 / (k + 1), and theta_k = theta(w_k) = 1 - 2 h. *)
Example squares_moving :
  let h k := / (INR k + 1) in
  let wk k := fun i => if Nat.eqb i 0 then 1 - h k else h k in
  (forall k, simplex (P := squares) (wk k)) /\ simplex (P := squares) (e 0) /\
  (forall i, (i < 2)%nat -> Un_cv (fun k => wk k i) (e 0 i)) /\
  (forall k, S_w (P := squares) (wk k) (1 - 2 * h k)).
Proof.
  intros h wk.
  assert (Hh : Un_cv h 0) by exact RinvN_cv.
  assert (Hconst : forall c : R, Un_cv (fun _ => c) c).
  { intros c eps Heps. exists 0%nat. intros k _. unfold R_dist. rewrite Rminus_eq_0, Rabs_R0. lra. }
  assert (H01 : forall k, 0 < h k <= 1).
  { intros k. unfold h. assert (Hk := pos_INR k). split; [apply Rinv_0_lt_compat; lra|].
    apply Rmult_le_reg_r with (INR k + 1); [lra|]. rewrite Rinv_l; lra. }
  split; [|split; [apply e_simplex; simpl; lia|split]].
  - intros k. specialize (H01 k). split; simpl; [|unfold wk; simpl; lra].
    intros i _. unfold wk. destruct (Nat.eqb i 0); lra.
  - intros [|i] _; unfold wk, e; simpl; [|exact Hh].
    replace 1 with (1 - 0) at 1 by lra. now apply CV_minus.
  - intros k theta'. assert (Hsq := pow2_ge_0 (theta' - (1 - 2 * h k))).
    unfold F. simpl. unfold wk, centre. simpl in *. lra.
Qed.

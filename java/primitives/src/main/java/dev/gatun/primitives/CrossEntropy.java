// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

/**
 * Cross-entropy between targets and the softmax of logits with a temperature, row by row; the softmax is never stored. Soft targets are
 * how swapped prediction compares codes with predictions (Caron et al., 2020, section 3.1).
 *
 * <p>Targets are constants: there is no gradient with respect to them. They are f32 of the logits' shape (soft, of any row sum) or i32
 * (rows): labels, below 0 for none.
 */
public final class CrossEntropy {
    private static final Downcall CALL = Downcall.operation("gatun_cross_entropy_forward", 5);
    private static final Struct DESC = Struct.descriptor("gatun_cross_entropy_desc");
    private static final long TEMPERATURE = DESC.f32("temperature");
    private static final long LOGITS = DESC.layout("logits");
    private static final long TARGETS = DESC.layout("targets");
    private static final long LOSS = DESC.layout("loss");
    private static final long LSE = DESC.layout("lse");
    private static final long KEPT = DESC.layout("kept");

    private static final Downcall BACKWARD_CALL = Downcall.operation("gatun_cross_entropy_backward", 5);
    private static final Struct BACKWARD_DESC = Struct.descriptor("gatun_cross_entropy_backward_desc");
    private static final long BACKWARD_TEMPERATURE = BACKWARD_DESC.f32("temperature");
    private static final long BACKWARD_LOGITS = BACKWARD_DESC.layout("logits");
    private static final long BACKWARD_TARGETS = BACKWARD_DESC.layout("targets");
    private static final long BACKWARD_KEPT = BACKWARD_DESC.layout("kept");
    private static final long BACKWARD_DLOSS = BACKWARD_DESC.layout("dloss");
    private static final long BACKWARD_DLOGITS = BACKWARD_DESC.layout("dlogits");

    private CrossEntropy() {}

    /**
     * loss_b = −Σ_k t_bk · log softmax(logits_b / temperature)_k, or −log softmax(...)_label. A logit of −∞ where the target is 0 counts
     * as 0. A row without a label, or of only −∞, has loss 0. A label of K or more gives a loss of NaN.
     *
     * @param temperature positive
     * @param logits f32 (..., K), rows equally spaced
     * @param targets soft or labels
     * @param loss f32 (rows), written
     * @param lse f32 (rows), written: log Σ exp(logits / temperature); or {@link Operand#NONE}
     * @param kept f32 (2 · rows), written: of use to {@link #backward} alone; or {@link Operand#NONE}
     */
    public static void forward(
            GatunStream stream, float temperature, Operand logits, Operand targets, Operand loss, Operand lse, Operand kept) {
        try (Call call = Call.of(stream, CALL, DESC)) {
            call.set(TEMPERATURE, temperature);
            call.input(LOGITS, "logits", logits);
            call.input(TARGETS, "targets", targets);
            call.output(LOSS, "loss", loss);
            call.output(LSE, "lse", lse);
            call.output(KEPT, "kept", kept);
            call.run();
        }
    }

    /**
     * dlogits_b = dloss_b / temperature · (softmax(logits_b / temperature)·Σ_k t_bk − t_b); 0 in rows whose loss is 0 as above.
     *
     * @param temperature as in {@link #forward}
     * @param logits as in {@link #forward}
     * @param targets as in {@link #forward}
     * @param kept of {@link #forward} of the same operands; or {@link Operand#NONE}: the same bits, with more sweeps over each row
     * @param dloss f32 (rows), any stride (0: one value for all rows): gradient of each row's loss
     * @param dlogits f32, shape of logits, written; may be logits itself
     */
    public static void backward(
            GatunStream stream, float temperature, Operand logits, Operand targets, Operand kept, Operand dloss, Operand dlogits) {
        try (Call call = Call.of(stream, BACKWARD_CALL, BACKWARD_DESC)) {
            call.set(BACKWARD_TEMPERATURE, temperature);
            call.input(BACKWARD_LOGITS, "logits", logits);
            call.input(BACKWARD_TARGETS, "targets", targets);
            call.input(BACKWARD_KEPT, "kept", kept);
            call.input(BACKWARD_DLOSS, "dloss", dloss);
            call.output(BACKWARD_DLOGITS, "dlogits", dlogits);
            call.run();
        }
    }
}

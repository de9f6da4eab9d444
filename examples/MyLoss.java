// SPDX-License-Identifier: Apache-2.0
import dev.gatun.data.Batch;
import dev.gatun.learning.*;
import dev.gatun.tensor.*;
import dev.gatun.tensor.function.L2Normalize;
import dev.gatun.tensor.layer.*;

/** A made-up objective: views of an image attract by a smooth distance, all pairs of the batch repel. */
public class MyLoss implements Method {
    private Encoder encoder;
    private Layer head;

    public void build(MethodBuild build) {
        encoder = build.encoder();
        head = new Linear(build.parameters().sub("head"), encoder.features(), 64, true);
    }

    public Tensor loss(Batch batch, Step step) {
        Tensor a = embed(batch, 0, step), b = embed(batch, 1, step);
        Tensor attract = Function.apply(new Smooth(), a.sub(b)).sum(1).mean();
        Tensor repel = a.matmulTransposed(b).mul(5f).exp().mean().log();
        return attract.mul(4f).add(repel);
    }

    private Tensor embed(Batch batch, int view, Step step) {
        Tensor features = encoder.forward(step.pass(), batch.views().get(view).images());
        return L2Normalize.apply(head.forward(step.pass(), features));
    }

    record Smooth() implements Function { // √(1 + x²) − 1, with the gradient x / √(1 + x²)
        public Tensor forward(FunctionContext context, Tensor... in) {
            Tensor root = in[0].square().add(1f).sqrt();
            context.save(in[0], root);
            return root.add(-1f);
        }
        public Tensor[] backward(FunctionContext context, Tensor... gradient) {
            return new Tensor[] {gradient[0].mul(context.saved(0)).div(context.saved(1))};
        }
    }
}

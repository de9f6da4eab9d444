// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.benchmarks.nd4j.Nd4jPeer;
import dev.gatun.benchmarks.torch.Torch;
import dev.gatun.primitives.Ceiling;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import org.nd4j.linalg.api.ndarray.INDArray;

/** What a row compares: ours, the peer's forms of it on the same data, and the ceilings. */
public final class Contest {
    /** Copies of more than this measure memory. */
    private static final long LARGEST_COPY = 128L << 20;

    /** Below this the call would be measured with it. */
    private static final long SMALLEST_COPY = 1L << 20;

    private static final long FMA_ITERATIONS = 300_000;

    private final DeviceState device;
    private final Optional<Torch> torch;
    private final Optional<Nd4jPeer> nd4j;
    private final String operation;
    private final List<Contender> contenders = new ArrayList<>();
    private final Map<String, Double> targets = new LinkedHashMap<>();
    private Torch.Script script;
    private double flops;
    private double bytes;
    private double fmaFlops;
    private double copyBytes;
    private double tolerance = 1e-4;

    Contest(DeviceState device, Optional<Torch> torch, Optional<Nd4jPeer> nd4j, String operation) {
        this.device = device;
        this.torch = torch;
        this.nd4j = nd4j;
        this.operation = operation;
    }

    /** PyTorch in this process; none where another peer is there, or ours runs alone. */
    public Optional<Torch> torch() {
        return torch;
    }

    /** ND4J in this process. */
    public Optional<Nd4jPeer> nd4j() {
        return nd4j;
    }

    /** Whether no peer is in this process. */
    public boolean alone() {
        return torch.isEmpty() && nd4j.isEmpty();
    }

    /**
     * The least that the row's work can cost: floating-point operations and compulsory traffic. Its time at the ceilings is the larger of both.
     */
    public Contest costs(double flops, double bytes) {
        this.flops = flops;
        this.bytes = bytes;
        return this;
    }

    /** Largest difference between ours and a peer's, both as root mean squares, over the peer's; 1e-4 where it is not given. */
    public Contest tolerance(double tolerance) {
        this.tolerance = tolerance;
        return this;
    }

    /** The ratio to the fastest form of the peers that this row should reach. */
    public Contest target(double ratio) {
        targets.put("", ratio);
        return this;
    }

    /** The ratio to one form of the peers that this row should reach. */
    public Contest target(String form, double ratio) {
        targets.put(form, ratio);
        return this;
    }

    /** Our work, and where its results are. */
    public Contest ours(Runnable work, Operand... results) {
        return ours(work, () -> Arrays.stream(results).map(Contest::floats).toList());
    }

    /** Our work, and its results in row-major order. */
    public Contest ours(Runnable work, Supplier<List<float[]>> results) {
        contenders.add(new Contender("ours", Contender.Kind.OURS, work, results));
        return this;
    }

    /** The script of the row's operation; only where PyTorch is there. */
    public Torch.Script script() {
        if (script == null) {
            script = torch.orElseThrow().load(operation);
        }
        return script;
    }

    /** Runs the script's method as a form of the peer. It returns the results in the order and layout of ours. */
    public Contest form(String method, Torch.Value... arguments) {
        return form(method, "", method, arguments);
    }

    /**
     * Runs the script's method as a form of the peer.
     *
     * @param restore method that brings the results into the order and layout of ours for the check, untimed; empty for none
     */
    public Contest form(String name, String restore, String method, Torch.Value... arguments) {
        Torch.Script peer = script();
        contenders.add(new Contender(
                name, Contender.Kind.PEER, () -> peer.run(method, arguments).close(), () -> {
                    try (Torch.Value results = peer.run(method, arguments)) {
                        if (restore.isEmpty()) {
                            return results.floats();
                        }
                        try (Torch.Value restored = peer.run(restore, results)) {
                            return restored.floats();
                        }
                    }
                }));
        return this;
    }

    /** A form whose results cannot be those of ours, as of random numbers: not compared. */
    public Contest formUnchecked(String name, String method, Torch.Value... arguments) {
        Torch.Script peer = script();
        contenders.add(new Contender(name, Contender.Kind.PEER, () -> peer.run(method, arguments).close(), List::of));
        return this;
    }

    /** A peer that keeps a state: its work once, and what computes its results when the check asks for them; {@code List::of}: not compared. */
    public Contest peer(String name, Runnable work, Supplier<List<float[]>> results) {
        contenders.add(new Contender(name, Contender.Kind.PEER, work, results));
        return this;
    }

    /** A peer that is no script, and where its results are. */
    public Contest peer(String name, Runnable work, Operand... results) {
        contenders.add(new Contender(name, Contender.Kind.PEER, work, () -> {
            work.run();
            return Arrays.stream(results).map(Contest::floats).toList();
        }));
        return this;
    }

    /** What ND4J does, and its results in the order and layout of ours, views if need be. */
    public Contest nd4j(String name, Runnable work, INDArray... results) {
        contenders.add(new Contender(name, Contender.Kind.PEER, work, () -> {
            work.run();
            return Arrays.stream(results).map(Nd4jPeer::floats).toList();
        }));
        return this;
    }

    List<Contender> contenders() {
        return contenders;
    }

    RoundProfiler.Row row() {
        return new RoundProfiler.Row(
                flops,
                bytes,
                fmaFlops,
                copyBytes,
                contenders.stream()
                        .filter(contender -> contender.kind() == Contender.Kind.PEER)
                        .map(Contender::name)
                        .toList(),
                targets,
                torch.map(peer -> "PyTorch " + peer.version())
                        .or(() -> nd4j.map(peer -> "ND4J " + peer.version()))
                        .orElse(""),
                device.isa(),
                "f32");
    }

    /** The ceilings of this row, first in the list: multiply-adds, and copying as many bytes as the row must move. */
    void addCeilings() {
        long footprint = (long) Math.clamp(bytes, SMALLEST_COPY, LARGEST_COPY);
        Operand x = device.empty(DType.F32, footprint / 8);
        Operand y = device.empty(DType.F32, footprint / 8);
        copyBytes = 8.0 * x.layout().elements();
        fmaFlops = Ceiling.fma(device.stream, FMA_ITERATIONS);
        contenders.addFirst(new Contender(
                "copy", Contender.Kind.CEILING, () -> Ceiling.copy(device.stream, x, y), List::of));
        contenders.addFirst(new Contender(
                "fma", Contender.Kind.CEILING, () -> Ceiling.fma(device.stream, FMA_ITERATIONS), List::of));
    }

    /** Every peer computes what we do, else the row is worth nothing. */
    void check() {
        List<float[]> ours = null;
        for (Contender contender : contenders) {
            if (contender.kind() == Contender.Kind.OURS) {
                contender.work().run();
                ours = contender.results().get();
            }
        }
        for (Contender contender : contenders) {
            if (contender.kind() == Contender.Kind.PEER && ours != null) {
                Agreement.check(contender.name(), ours, contender.results().get(), tolerance);
            }
        }
    }

    private static float[] floats(Operand operand) {
        return operand.segment()
                .asSlice(0, operand.layout().spanBytes())
                .toArray(ValueLayout.JAVA_FLOAT);
    }
}

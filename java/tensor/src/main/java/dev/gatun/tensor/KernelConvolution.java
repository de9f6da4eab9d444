// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.Convolution;
import dev.gatun.primitives.Convolution.Geometry;
import dev.gatun.primitives.DeviceKind;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Operand;
import java.lang.foreign.MemorySegment;

/** Gatun's own kernels: on every device, and everywhere unless something else is asked for. */
final class KernelConvolution implements ConvolutionLibrary {
    @Override
    public String name() {
        return "Gatun's own kernels";
    }

    @Override
    public long forwardWorkspace(GatunStream stream, Operand x, Operand weights, Operand bias, Operand y, Geometry geometry) {
        return Convolution.forwardWorkspace(stream, x, weights, bias, y, geometry);
    }

    @Override
    public void forward(
            GatunStream stream, Operand x, Operand weights, Operand bias, Operand y, Geometry geometry, MemorySegment workspace) {
        Convolution.forward(stream, x, weights, bias, y, geometry, workspace);
    }

    @Override
    public long backwardDataWorkspace(GatunStream stream, Operand dy, Operand weights, Operand dx, Geometry geometry) {
        return Convolution.backwardDataWorkspace(stream, dy, weights, dx, geometry);
    }

    @Override
    public boolean accumulates(GatunStream stream, Geometry geometry) {
        return stream.context().kind() == DeviceKind.CPU && geometry.groups() == 1;
    }

    @Override
    public void backwardData(
            GatunStream stream, Operand dy, Operand weights, Operand dx, Geometry geometry, boolean accumulate, MemorySegment workspace) {
        Convolution.backwardData(stream, dy, weights, dx, geometry, accumulate, workspace);
    }

    @Override
    public long backwardWeightsWorkspace(
            GatunStream stream, Operand x, Operand dy, Operand dweights, Operand dbias, Geometry geometry) {
        return Convolution.backwardWeightsWorkspace(stream, x, dy, dweights, dbias, geometry);
    }

    @Override
    public void backwardWeights(
            GatunStream stream,
            Operand x,
            Operand dy,
            Operand dweights,
            Operand dbias,
            Geometry geometry,
            boolean accumulate,
            MemorySegment workspace) {
        Convolution.backwardWeights(stream, x, dy, dweights, dbias, geometry, accumulate, workspace);
    }
}

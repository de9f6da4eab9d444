// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class MultiCropSettingsTest {
    private static final CropSettings GLOBAL = new CropSettings();

    private static CropSettings crop(String role, List<Double> area, double flip, int kernel) {
        return new CropSettings(role, 1, 28, area, List.of(1., 1.), flip, 0, 0, 0, 0, kernel, List.of(1., 1.), 0);
    }

    private static void refused(String message, Executable action) {
        assertEquals(message, assertThrows(IllegalArgumentException.class, action).getMessage());
    }

    @Test
    void defaultsAreTheFashionMnistProtocol() {
        MultiCropSettings s = new MultiCropSettings();
        assertEquals(1, s.crops().size());
        assertEquals(2, GLOBAL.count());
        assertEquals(List.of(.3, 1.), GLOBAL.area());
        assertEquals(28, s.side());
        assertEquals(28, s.resize());
    }

    @Test
    void badValuesAreNamed() {
        List<Double> area = List.of(.3, 1.);
        refused("role is big; allowed is global or local", () -> crop("big", area, .5, 3));
        refused("area is [1.0, 0.3]; allowed is [smallest, largest] with 0.0 < smallest <= largest <= 1.0",
                () -> crop("global", List.of(1., .3), .5, 3));
        refused("flip is 1.5; allowed is 0 to 1", () -> crop("global", area, 1.5, 3));
        refused("flip is NaN; allowed is 0 to 1", () -> crop("global", area, Double.NaN, 3));
        refused("blur_kernel is 4; allowed is an odd number from 1 to 63", () -> crop("global", area, .5, 4));
        CropSettings local = crop("local", area, .5, 3);
        List<Double> one = List.of(1.);
        refused("crops is only local groups; allowed is at least one global group",
                () -> new MultiCropSettings(List.of(local), one, one, 0, 0));
        refused("crops is a global group after a local one; allowed is global groups first",
                () -> new MultiCropSettings(List.of(GLOBAL, local, GLOBAL), one, one, 0, 0));
        refused("std is [0.0]; allowed is as many numbers as mean has, above 0",
                () -> new MultiCropSettings(List.of(GLOBAL), one, List.of(0.), 0, 0));
        refused("plain_resize is 20; allowed is 0, or at least the plain size 28",
                () -> new MultiCropSettings(List.of(GLOBAL), one, one, 0, 20));
    }
}

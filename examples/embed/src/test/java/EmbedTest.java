// SPDX-License-Identifier: Apache-2.0

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import org.junit.jupiter.api.Test;

class EmbedTest {
    @Test
    void theNativeLibraryOfTheJarIsUsed() {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        PrintStream out = System.out;
        System.setOut(new PrintStream(bytes, true));
        try {
            Embed.main(new String[0]);
        } finally {
            System.setOut(out);
        }
        assertEquals("0.6 10.0", bytes.toString().strip());
    }
}

// SPDX-License-Identifier: Apache-2.0
/** The {@code gatun} command: brings vision and learning together. */
module dev.gatun.cli {
    requires static transitive org.jspecify;
    requires dev.gatun.learning;
    requires dev.gatun.vision;
    requires info.picocli;
    requires java.net.http;
    requires me.tongfei.progressbar;
    requires tools.jackson.databind;

    opens dev.gatun.cli to info.picocli;
}

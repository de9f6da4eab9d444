// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.zip.GZIPInputStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

@Command(
        name = "data",
        description = "Fetches a data set. Nothing else of Gatun ever downloads.",
        mixinStandardHelpOptions = true,
        subcommands = DataCommand.FashionMnist.class)
final class DataCommand implements Runnable {
    @Spec
    CommandSpec spec;

    @Override
    public void run() {
        throw new picocli.CommandLine.ParameterException(spec.commandLine(), "which data set? (fashion-mnist)");
    }

    @Command(
            name = "fashion-mnist",
            description = "Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, MIT licence): 70,000 images of clothing, 28x28, 10 classes, 30 MB.",
            mixinStandardHelpOptions = true)
    static final class FashionMnist implements Callable<Integer> {
        /** SHA-256 of the uncompressed files: compression differs between mirrors, the content does not. */
        private static final Map<String, String> FILES = new LinkedHashMap<>();

        static {
            FILES.put("train-images-idx3-ubyte.gz", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888");
            FILES.put("train-labels-idx1-ubyte.gz", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9");
            FILES.put("t10k-images-idx3-ubyte.gz", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b");
            FILES.put("t10k-labels-idx1-ubyte.gz", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34");
        }

        @Spec
        CommandSpec spec;

        @Option(names = "--from", paramLabel = "URL", description = "Where the four .gz files are. Default: ${DEFAULT-VALUE}",
                defaultValue = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/")
        String from;

        @Option(names = "--to", paramLabel = "DIR", description = "Folder to put them in. Default: ${DEFAULT-VALUE}", defaultValue = "data/fashion-mnist")
        Path to;

        @Override
        public Integer call() throws IOException, InterruptedException {
            Files.createDirectories(to);
            String base = from.endsWith("/") ? from : from + "/";
            for (Map.Entry<String, String> file : FILES.entrySet()) {
                Path target = to.resolve(file.getKey());
                if (Files.isRegularFile(target) && checksum(target).equals(file.getValue())) {
                    spec.commandLine().getOut().println(target + " is there");
                    continue;
                }
                Path part = to.resolve(file.getKey() + ".part");
                fetch(URI.create(base + file.getKey()), part);
                String sum = checksum(part);
                if (!sum.equals(file.getValue())) {
                    Files.delete(part);
                    throw new IOException(base + file.getKey() + " is not the file expected: SHA-256 of its content is " + sum
                            + ", expected " + file.getValue());
                }
                Files.move(part, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
                spec.commandLine().getOut().println(target);
            }
            return 0;
        }

        private static void fetch(URI source, Path target) throws IOException, InterruptedException {
            if ("file".equals(source.getScheme())) {
                Files.copy(Path.of(source), target, StandardCopyOption.REPLACE_EXISTING);
                return;
            }
            try (HttpClient client = HttpClient.newBuilder()
                    .followRedirects(HttpClient.Redirect.NORMAL)
                    .connectTimeout(Duration.ofSeconds(20))
                    .build()) {
                HttpRequest request = HttpRequest.newBuilder(source).timeout(Duration.ofMinutes(10)).build();
                HttpResponse<Path> response = client.send(request, HttpResponse.BodyHandlers.ofFile(target));
                if (response.statusCode() != 200) {
                    throw new IOException(source + " answered with status " + response.statusCode());
                }
            } catch (IOException e) {
                throw new IOException("cannot fetch " + source + ": " + (e.getMessage() == null ? e : e.getMessage()), e);
            }
        }

        static String checksum(Path gzip) throws IOException {
            try (InputStream stream = new GZIPInputStream(Files.newInputStream(gzip))) {
                MessageDigest digest = MessageDigest.getInstance("SHA-256");
                byte[] buffer = new byte[1 << 16];
                for (int n = stream.read(buffer); n > 0; n = stream.read(buffer)) {
                    digest.update(buffer, 0, n);
                }
                return HexFormat.of().formatHex(digest.digest());
            } catch (java.io.EOFException | java.util.zip.ZipException e) {
                return "(not a gzip file: " + e.getMessage() + ")";
            } catch (NoSuchAlgorithmException e) {
                throw new AssertionError(e);
            }
        }
    }
}

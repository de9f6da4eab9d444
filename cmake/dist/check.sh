#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check.sh ARCHIVE: the archive works where there is no Java, no home and nothing of this checkout: unpacked into a folder with a blank in its
# name, in an empty environment whose PATH has a few plain tools.
set -eu
archive=$(readlink -f "$1")
checkout=$(cd "$(dirname "$0")/../.." && pwd -P)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

mkdir -p "$folder/un packed" "$folder/tools" "$folder/home" "$folder/elsewhere"
tar xJf "$archive" -C "$folder/un packed"
root=$(echo "$folder/un packed"/gatun-*)
for tool in sh env cat cut date dirname grep mkdir mktemp pwd readlink rm sed tail tee timeout; do
  ln -s "$(command -v "$tool")" "$folder/tools/$tool" 2> /dev/null || true
done
ln -s "$root/bin/gatun" "$folder/tools/gatun"
cd "$folder/elsewhere"

failed=0
outcome() { echo "$1: $2"; }
fail() {
  outcome "$1" FAILED
  cat log
  failed=1
}
bare() { env -i PATH="$folder/tools" HOME="$folder/home" TMPDIR="$folder/home" GATUN_JAVA_OPTIONS="-Duser.home=$folder/home" "$@" > log 2>&1; }
works() { # what, a text that is printed, command...
  what=$1 text=$2
  shift 2
  if bare "$@" && grep -q "$text" log; then outcome "$what" ok; else fail "$what"; fi
}

works "gatun info" "oneDNN" gatun info
works "gatun methods" "swav" gatun methods
if [ -d "$root/data" ]; then
  works "gatun pretrain" "report.html" gatun pretrain "$root/configs/fashion-mnist-swav.yaml" --set "data.path=$root/data/fashion-mnist-part" \
    --set data.images=2000 --set schedule.epochs=1 --out swav
  works "gatun pretrain --method" "report.html" gatun pretrain "$root/configs/fashion-mnist-swav.yaml" --set "data.path=$root/data/fashion-mnist-part" \
    --set data.images=2000 --set schedule.epochs=1 --method "$root/examples/MyLoss.java" --out my-loss
fi
for device in cpu emulated; do
  if [ -e "$root/lib/gatun-trials-$device" ]; then
    works "gatun selftest --device $device" "l2_normalize" gatun selftest --device "$device" --quick --op l2_normalize
  fi
done

# JPEG has natives of its own in the runtime.
cat > Jpeg.java <<'JAVA'
import java.awt.image.BufferedImage;
import java.io.File;
import javax.imageio.ImageIO;

class Jpeg {
    public static void main(String[] arguments) throws Exception {
        System.out.println(ImageIO.write(new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB), "jpeg", new File("a.jpg")));
        System.out.println(ImageIO.getImageReadersByFormatName("jpeg").next().getClass().getName() + " " + ImageIO.read(new File("a.jpg")).getWidth());
    }
}
JAVA
works "JPEG" "twelvemonkeys.* 32" "$root/runtime/bin/java" -cp "$root/jars/*" Jpeg.java

# What was left of the binding of NVIDIA's libraries, over the stand-ins that the Java tests use.
if [ -e "$checkout/build/native/doubles/libcublasLt.so.13" ]; then
  cat > Binding.java <<'JAVA'
class Binding {
    public static void main(String[] arguments) {
        org.bytedeco.javacpp.Loader.loadProperties().setProperty("platform.linkpath", System.getenv("LD_LIBRARY_PATH"));
        System.out.println("cuBLASLt " + org.bytedeco.cuda.global.cublas.cublasLtGetVersion());
        System.out.println("cuDNN " + org.bytedeco.cuda.global.cudnn.cudnnGetVersion());
    }
}
JAVA
  works "NVIDIA's libraries through their binding" "cuDNN 9" env "LD_LIBRARY_PATH=$checkout/build/native/doubles" "$root/runtime/bin/java" \
    -Dorg.bytedeco.javacpp.cachedir="$folder/home/javacpp" --module-path "$root/jars" --add-modules ALL-MODULE-PATH Binding.java
fi

if [ -e "$root/bin/gatun-tests-cuda" ]; then
  works "gatun-tests-cuda --help" "test-case" "$root/bin/gatun-tests-cuda" --help
  works "gatun-tests-cuda has the operations" "l2_normalize" "$root/bin/gatun-tests-cuda" --list-test-cases
  status=0
  bare "$root/bin/gatun-tests-cuda" || status=$?
  case "$status" in
    0) outcome "gatun-tests-cuda" ok ;;
    77) outcome "gatun-tests-cuda" "$(cat log)" ;;
    *) fail "gatun-tests-cuda" ;;
  esac
  if [ "$status" = 77 ]; then
    bare "$root/run-on-device.sh" results && fail "run-on-device.sh without a device"
    if grep -q "skipped: " log; then outcome "run-on-device.sh" "$(cat log)"; else fail "run-on-device.sh"; fi
  fi
fi

if command -v python3 > /dev/null && [ -e "$root/lib/gatun-trials-emulated" ]; then
  "$root/lib/gatun-trials-emulated" list --json > rows.json
  if python3 "$root/torch_cuda.py" rows.json --dry-run > log 2>&1; then outcome "torch_cuda.py --dry-run" ok; else fail "torch_cuda.py --dry-run"; fi
fi

if command -v python3 > /dev/null; then
  bare gatun bench-steps "$root"/configs/steps/*.yaml --device cuda --list && cp log pipelines.json
  if python3 "$root/torch_cuda.py" --steps pipelines.json --dry-run > log 2>&1 && grep -q "swav-vit-s16" log; then
    outcome "torch_cuda.py --steps --dry-run" ok
  else
    fail "torch_cuda.py --steps --dry-run"
  fi
fi

if grep -rlF "$checkout" "$root" > log; then fail "names where it was built"; else outcome "does not name where it was built" ok; fi
if [ "$(find "$folder/home" -maxdepth 1 -name '.*' | wc -l)" -le 2 ]; then outcome "home" ok; else ls -A "$folder/home" > log; fail "home"; fi
exit "$failed"

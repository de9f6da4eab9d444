#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# dist.sh: packs what make has built, with a Java runtime of its own, into build/gatun-VERSION-PLATFORM.tar.xz. See docs/dist.md.
set -eu
cd "$(dirname "$0")/.."
jdk=$(cmake/jdk.sh)
version=$(sed -n 's/^project(gatun VERSION \([0-9.]*\).*/\1/p' native/CMakeLists.txt)
platform=linux-$(uname -m)
name=gatun-$version-$platform
tree=build/dist/$name
limit=$((55 * 1024 * 1024))
rm -rf "$tree"
mkdir -p "$tree/bin" "$tree/lib" "$tree/jars" "$tree/examples"

# --- Java runtime
# Beside what the jars use: the compiler of one-file methods, and the file system by which it reads jars.
modules=$("$jdk/bin/jdeps" --multi-release 25 --ignore-missing-deps --print-module-deps --module-path build/java/lib build/java/lib/*.jar 2> /dev/null | tail -n 1)
modules=$modules,jdk.compiler,jdk.zipfs
if [ "$(cat build/dist/runtime.stamp 2> /dev/null)" != "$jdk $modules" ]; then
  echo "== Java runtime"
  rm -rf build/dist/runtime
  "$jdk/bin/jlink" --strip-debug --no-header-files --no-man-pages --compress zip-0 --add-modules "$modules" --output build/dist/runtime
  # What is only for `javac --release`, and for splash screens.
  rm -f build/dist/runtime/lib/ct.sym build/dist/runtime/lib/libsplashscreen.so
  echo "$jdk $modules" > build/dist/runtime.stamp
fi
cp -a build/dist/runtime "$tree/runtime"

# --- jars: of the presets' natives only what is loaded; no natives for other platforms
"$jdk/bin/java" cmake/dist/Repack.java build/java/lib "$tree/jars" \
  '^META-INF/native-image/|^org/bytedeco/.*/(include|lib)/|/lib(jni(?!cudart|cublas|cudnn|javacpp)[a-z]*\.so|gomp\.so.*)$|^org/jline/nativ/(?!Linux/x86_64/).*\.(so|dll|jnilib)$'
for jar in "$tree"/jars/*.jar; do
  artifact=$(basename "$jar" .jar | sed 's/-[0-9].*//')
  case "$artifact" in gatun-*) continue ;; esac
  if ! grep -q "^| .*\`$artifact\`" cmake/dist/THIRD-PARTY.md; then
    echo "cmake/dist/THIRD-PARTY.md does not name $artifact: add it with its licence" >&2
    exit 1
  fi
done

# --- native code
for file in libgatun.so libgatun_cuda.so libgatun_emulated.so gatun-trials-cpu gatun-trials-cuda gatun-trials-emulated gatun-tests-cuda; do
  if [ -e "build/native/$file" ]; then
    strip -o "$tree/lib/$file" "build/native/$file"
  fi
done
[ -e "$tree/lib/libgatun_cuda.so" ] || echo "no nvcc: without CUDA"
cp -L "$(c++ -print-file-name=libgomp.so.1)" "$tree/lib/"
if [ -e "$tree/lib/gatun-tests-cuda" ]; then ln -s ../lib/gatun-tests-cuda "$tree/bin/gatun-tests-cuda"; fi

# --- a part of Fashion-MNIST, for a training without a network: the first images of both files, which are in random order
bytes() { # the big-endian integer of an IDX header
  printf "$(printf '\\%03o\\%03o\\%03o\\%03o' $(($1 >> 24 & 255)) $(($1 >> 16 & 255)) $(($1 >> 8 & 255)) $(($1 & 255)))"
}
part() { # file, bytes of the header, bytes an item, items
  {
    gzip -dc "$data/$1.gz" | head -c 4
    bytes "$4"
    gzip -dc "$data/$1.gz" | head -c $(($2 + $3 * $4)) | tail -c +9
  } > "$tree/data/fashion-mnist-part/$1"
}
data=""
for folder in /usr/share/datasets/fashion-mnist build/data/usr/share/datasets/fashion-mnist data/fashion-mnist; do
  if [ -e "$folder/train-images-idx3-ubyte.gz" ]; then data=$folder; break; fi
done
if [ -n "$data" ]; then
  mkdir -p "$tree/data/fashion-mnist-part"
  part train-images-idx3-ubyte 16 784 10000
  part train-labels-idx1-ubyte 8 1 10000
  part t10k-images-idx3-ubyte 16 784 2000
  part t10k-labels-idx1-ubyte 8 1 2000
else
  echo "no Fashion-MNIST on this machine: without images"
fi

# --- the rest
cp cmake/dist/gatun "$tree/bin/"
cp cmake/dist/run-on-device.sh "$tree/"
chmod 755 "$tree/bin/gatun" "$tree/run-on-device.sh"
cp cmake/dist/THIRD-PARTY.md LICENSE "$tree/"
glibc=$(objdump -T "$tree"/lib/* 2> /dev/null | grep -o 'GLIBC_2[0-9.]*' | sort -uV | tail -n 1 | sed 's/GLIBC_//')
sed "s/@VERSION@/$version/; s/@GLIBC@/$glibc/" cmake/dist/README.md > "$tree/README.md"
cp -r configs "$tree/"
cp examples/*.java "$tree/examples/"
cp benchmarks/peers/torch_*.py "$tree/"

# --- the archive: the same bytes from the same tree
echo "== $name.tar.xz"
stamp=$(git log -1 --format=%ct 2> /dev/null || echo 946684800)
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$stamp" -C build/dist -cf "build/dist/$name.tar" "$name"
xz --stdout --x86 --lzma2=preset="${XZ_PRESET:-9}" "build/dist/$name.tar" > "build/$name.tar.xz.part"
rm "build/dist/$name.tar"
mv "build/$name.tar.xz.part" "build/$name.tar.xz"
size=$(wc -c < "build/$name.tar.xz")
du -sk "$tree"/* "$tree"/lib/* | sort -rn | head -n 12
echo "build/$name.tar.xz: $((size / 1024)) KiB"
if [ "$size" -gt "$limit" ]; then
  echo "that is more than the $((limit / 1024)) KiB that it may have" >&2
  exit 1
fi
cmake/dist/check.sh "build/$name.tar.xz"

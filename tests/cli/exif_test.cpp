// EXIF orientation through the program: training, the model file, and what later commands do.
#include <zlib.h>

#include <nlohmann/json.hpp>

#include "tests/cli/program.h"

namespace tapescope {
namespace {

using Bytes = std::vector<std::uint8_t>;

void put_word(Bytes& to, std::uint32_t v) {
  for (int shift : {24, 16, 8, 0}) to.push_back(static_cast<std::uint8_t>(v >> shift));
}

// Stored lying on its side, with a note that says so; seen, it is `image`.
void write_turned(const std::filesystem::path& path, const Image& image) {
  Image stored(image.width, image.height, 3);
  for (int r = 0; r < stored.height; ++r) {
    for (int c = 0; c < stored.width; ++c) {
      std::copy_n(image.at(c, stored.height - 1 - r), 3, stored.at(r, c));
    }
  }
  const Bytes png = encode_png(stored);
  Bytes note = {'e',  'X', 'I', 'f', 'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1,
                0x12, 0,   3,   0,   0,   0,   1, 0,  6, 0, 0, 0, 0, 0, 0};
  Bytes file(png.begin(), png.begin() + 33);  // up to the end of IHDR
  put_word(file, static_cast<std::uint32_t>(note.size() - 4));
  file.insert(file.end(), note.begin(), note.end());
  put_word(file, static_cast<std::uint32_t>(crc32(0, note.data(), static_cast<uInt>(note.size()))));
  file.insert(file.end(), png.begin() + 33, png.end());
  std::filesystem::create_directories(path.parent_path());
  put(path, file);
}

// Bright above or bright on the left: which way up decides.
Image half(bool above, std::uint64_t seed) {
  Image image(24, 24, 3);
  PhiloxStream random(seed);
  for (int y = 0; y < 24; ++y) {
    for (int x = 0; x < 24; ++x) {
      const bool bright = (above ? y : x) < 12;
      for (int c = 0; c < 3; ++c) {
        image.at(y, x)[c] = static_cast<std::uint8_t>(random.below(80) + (bright ? 170u : 0u));
      }
    }
  }
  return image;
}

class ExifRuns : public testing::Test {
 protected:
  ExifRuns() {
    for (int i = 0; i < 8; ++i) {
      for (bool above : {true, false}) {
        const std::string name = std::string(i < 6 ? "train/" : "test/") +
                                 (above ? "above/" : "left/") + std::to_string(i) + ".png";
        write_turned(folder_ / ("data/" + name), half(above, static_cast<std::uint64_t>(i)));
      }
    }
    write_png(folder_ / "upright.png", half(true, 99));
    write_turned(folder_ / "turned.png", half(true, 99));
  }
  Result train(const std::string& out, const std::vector<std::string>& more) {
    std::vector<std::string> words = {
        "train", "--data",    data(), "--out",         run(out), "--model",
        "lenet", "--width",   "0.25", "--epochs",      "1",      "--image-size",
        "24",    "--augment", "none", "--tensorboard", "false"};
    words.insert(words.end(), more.begin(), more.end());
    return tapescope_program(words);
  }
  std::string data() const { return (folder_ / "data").string(); }
  std::string run(const std::string& name) const { return (folder_ / name).string(); }
  // The classes' probabilities of a picture, by name.
  nlohmann::json answer(const std::string& run_name, const std::string& picture) {
    const Result result =
        tapescope_program({"predict", "--run", run(run_name), run(picture), "--json"});
    EXPECT_EQ(result.status, 0) << result.err;
    nlohmann::json json = nlohmann::json::parse(result.out);
    return strip_names(std::move(json));
  }
  static nlohmann::json strip_names(nlohmann::json json) {
    std::string text = json.dump();
    for (const std::string name : {"upright.png", "turned.png"}) {
      for (std::size_t at; (at = text.find(name)) != std::string::npos;)
        text.erase(at, name.size());
    }
    return nlohmann::json::parse(text);
  }
  TemporaryFolder folder_;
};

TEST_F(ExifRuns, ApplyIsTheDefaultAndTheModelFileSaysSo) {
  const Result trained = train("run", {});
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_NE(trained.err.find("16 pictures have an EXIF orientation, which is applied"),
            std::string::npos)
      << trained.err;
  EXPECT_EQ(answer("run", "upright.png"), answer("run", "turned.png"));
  // A model file of an older version does not say, and reads pictures as it always did.
  const auto best = folder_ / "run/checkpoints/best.safetensors";
  Bytes bytes = get(best);
  std::string text(bytes.begin(), bytes.end());
  const std::size_t at = text.find("exif");
  ASSERT_NE(at, std::string::npos);
  text[at] = 'o';
  put(best, text);
  EXPECT_NE(answer("run", "upright.png"), answer("run", "turned.png"));
}

TEST_F(ExifRuns, IgnoreReadsPicturesAsStored) {
  const Result trained = train("run", {"--exif", "ignore"});
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_NE(trained.err.find("which is not applied"), std::string::npos) << trained.err;
  EXPECT_NE(answer("run", "upright.png"), answer("run", "turned.png"));
  const Result other = train("other", {"--exif", "turn"});
  EXPECT_EQ(other.status, 2);
  EXPECT_NE(other.err.find("apply or ignore"), std::string::npos) << other.err;
}

TEST_F(ExifRuns, ARunOfAnOlderVersionGoesOnAsItBegan) {
  ASSERT_EQ(train("run", {"--exif", "ignore"}).status, 0);
  const auto config = folder_ / "run/config.toml";
  std::string text = text_of(config);
  const std::size_t at = text.find("exif");
  ASSERT_NE(at, std::string::npos) << text;
  text.erase(at, text.find('\n', at) + 1 - at);
  put(config, text);
  const Result resumed = tapescope_program({"train", "--out", run("run"), "--resume"});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_NE(resumed.err.find("which is not applied"), std::string::npos) << resumed.err;
}

}  // namespace
}  // namespace tapescope

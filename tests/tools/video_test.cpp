// Videos through ffmpeg: what is read and written is measured by ffprobe.
#include "tools/detection/video.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "tests/tools/temporary_folder.h"
#include "tools/detection/matroska.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;

// What a shell prints; a test's own names have nothing that a shell would read.
std::string said_by(const std::string& command) {
  std::string text;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  for (int c; (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  ::pclose(pipe);
  return text;
}

std::string probed(const fs::path& path, const std::string& entries) {
  return said_by("ffprobe -v error -select_streams V:0 -show_entries " + entries +
                 " -of default=noprint_wrappers=1:nokey=1 'file:" + path.string() + "'");
}

class Video : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::system("ffmpeg -version >/dev/null 2>&1") != 0) GTEST_SKIP() << "ffmpeg is not there";
  }
  // Two seconds at ten frames a second.
  fs::path made(const std::string& name, const std::string& how = "") {
    const fs::path path = folder_ / name;
    const std::string command = "ffmpeg -v error -y -f lavfi -i testsrc=s=64x48:r=10:d=2 " + how +
                                " 'file:" + path.string() + "'";
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    return path;
  }
  struct Frames {
    std::vector<double> times;
    Image first;
    Ratio aspect;
    std::string error;
  };
  static Frames read(const fs::path& path) {
    Frames frames;
    const std::optional<VideoInfo> info = probe_video(path);
    EXPECT_TRUE(info.has_value()) << path;
    if (!info) return frames;
    VideoReader reader(path.string(), *info);
    try {
      for (FrameTime time; std::optional<Image> image = reader.next(time);) {
        if (frames.times.empty()) {
          frames.first = *image;
          frames.aspect = time.aspect;
        }
        frames.times.push_back(time.seconds);
      }
    } catch (const Error& error) {
      EXPECT_EQ(error.blame(), Blame::usage);
      frames.error = error.what();
    }
    return frames;
  }
  TemporaryFolder folder_;
};

TEST_F(Video, IsSeenWhateverItIsCalled) {
  for (const char* name : {"a.mp4", "a.MTS", "a.ts", "a.flv", "a.mkv", "a.avi", "a.mov", "a.3gp",
                           "a:b.mp4", "with space.m4v", "line\nbreak.mp4", "100%d.mp4"}) {
    const std::string ending = fs::path(name).extension();
    const fs::path path = made(name, ending == ".MTS"   ? "-f mpegts"
                                     : ending == ".3gp" ? "-c:v mpeg4"
                                                        : "");
    const Frames frames = read(path);
    EXPECT_EQ(frames.error, "") << name;
    ASSERT_EQ(frames.times.size(), 20u) << name;
    for (int i = 0; i < 20; ++i)
      EXPECT_NEAR(frames.times[static_cast<std::size_t>(i)], i / 10.0, 2e-3) << name;
  }
  fs::rename(folder_ / "a.mkv", folder_ / "no ending");
  EXPECT_TRUE(probe_video(folder_ / "no ending"));
}

TEST_F(Video, IsNoPictureAndNoText) {
  made("picture.png", "-frames:v 1");
  made("picture.jpg", "-frames:v 1");
  made("wrong.mp4", "-frames:v 1 -f image2 -c:v png");
  put(folder_ / "notes.txt", std::string("a line\nand another\n"));
  put(folder_ / "list.m3u8", std::string("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"));
  put(folder_ / "empty.png", std::string());
  for (const char* name :
       {"picture.png", "picture.jpg", "wrong.mp4", "notes.txt", "list.m3u8", "empty.png"}) {
    EXPECT_FALSE(probe_video(folder_ / name)) << name;
  }
  put(folder_ / "broken.mp4", std::string(3000, 'x'));
  EXPECT_NE(usage_message([&] { probe_video(folder_ / "broken.mp4"); }).find("cannot be read"),
            std::string::npos);
}

TEST_F(Video, ThatIsCutOffKeepsWhatCameAndSaysSo) {
  for (const char* name : {"a.mp4", "a.mkv", "a.avi", "a.flv", "a.ts", "a.ogv"}) {
    const bool mp4 = fs::path(name).extension() == ".mp4";  // whose index may stand at the end
    const fs::path path = made(name, mp4 ? "-g 1 -movflags +faststart" : "-g 1");
    fs::resize_file(path, fs::file_size(path) * 55 / 100);
    const Frames frames = read(path);
    EXPECT_NE(frames.error.find("cut off"), std::string::npos) << name << frames.error;
    EXPECT_GT(frames.times.size(), 2u) << name;
    EXPECT_LT(frames.times.size(), 20u) << name;
  }
}

TEST_F(Video, IsWrittenAtItsRateAndShape) {
  const fs::path path = folder_ / "-out.mp4";
  VideoWriter writer(path, {30000, 1001}, {4, 3});
  for (int i = 0; i < 6; ++i) writer.write(Image(48, 64, 3, static_cast<std::uint8_t>(40 * i)), 0);
  writer.finish();
  EXPECT_EQ(probed(path, "stream=sample_aspect_ratio,r_frame_rate,avg_frame_rate,nb_frames"),
            "4:3\n30000/1001\n30000/1001\n6\n");
}

TEST_F(Video, IsWrittenWithTimesThatComeUnevenly) {
  const std::vector<double> times = {0, 0.1, 0.2, 0.5, 0.533, 0.9, 1.0, 1.7, 2.0, 2.01, 2.9};
  for (const char* name : {"out.mp4", "out.mkv", "out.mov"}) {
    VideoWriter writer(folder_ / name, {}, {});
    for (std::size_t i = 0; i < times.size(); ++i) {
      Image image(48, 64, 3);
      for (std::size_t k = 0; k < image.pixels.size(); ++k) {
        image.pixels[k] = static_cast<std::uint8_t>(k % 3 == 0 ? 200 : 20);  // red
      }
      writer.write(image, times[i]);
    }
    writer.finish();
    std::istringstream lines(probed(folder_ / name, "frame=pts_time"));
    std::vector<double> found;
    for (double t; lines >> t;) found.push_back(t);
    ASSERT_EQ(found.size(), times.size()) << name;
    for (std::size_t i = 0; i < times.size(); ++i) EXPECT_NEAR(found[i], times[i], 6e-4) << name;
    const Frames frames = read(folder_ / name);
    EXPECT_EQ(frames.error, "");
    ASSERT_EQ(frames.times.size(), times.size());
    EXPECT_NEAR(frames.times[9], 2.01, 6e-4);
    EXPECT_NEAR(frames.first.at(20, 20)[0], 200, 12);
    EXPECT_NEAR(frames.first.at(20, 20)[2], 20, 12);
  }
}

TEST_F(Video, ThatCannotBeWrittenSaysWhatFfmpegSays) {
  VideoWriter writer(folder_ / "not there/out.mp4", {25, 1}, {});
  std::string message;
  try {
    for (int i = 0; i < 40; ++i) writer.write(Image(48, 64, 3), 0);
    writer.finish();
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("No such file"), std::string::npos) << message;
}

TEST_F(Video, OfPhonesIsReadUprightAndInTenBits) {
  const fs::path turned = shared_case("files/13_video/rot90.mp4"),
                 hdr = shared_case("files/13_video/hdr10.mp4");
  if (turned.empty() || hdr.empty()) GTEST_SKIP() << "the cases are not there";
  const Frames upright = read(turned), ten_bits = read(hdr);
  EXPECT_EQ(upright.error + ten_bits.error, "");
  EXPECT_EQ(upright.times.size(), 20u);
  EXPECT_EQ(upright.first.height, 320);
  EXPECT_EQ(upright.first.width, 180);
  EXPECT_EQ(upright.aspect, (Ratio{1280, 1281}));
  EXPECT_EQ(ten_bits.times.size(), 20u);
  EXPECT_EQ(ten_bits.first.width, 320);
}

TEST(Matroska, TellsTimesInMicroseconds) {
  const std::string frame = matroska_frame(Image(1, 1, 3), 1.5);
  // Cluster, 8 bytes of length; Timestamp, 8 of length, then 1,500,000.
  ASSERT_GT(frame.size(), 30u);
  EXPECT_EQ(frame.substr(0, 4), "\x1F\x43\xB6\x75");
  std::uint64_t time = 0;
  for (std::size_t i = 21; i < 29; ++i) time = time << 8 | static_cast<std::uint8_t>(frame[i]);
  EXPECT_EQ(time, 1'500'000u);
}

}  // namespace
}  // namespace tapescope::detection

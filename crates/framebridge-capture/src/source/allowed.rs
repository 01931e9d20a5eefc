//! What FFmpeg may do with a source of each kind: which protocols it may speak, which containers and codecs it may read. A
//! playlist, an SDP or a list of files inside a file is none of them, so that nothing opens what its operator has not named.

use framebridge_config::Protocol;

/// The largest picture that is decoded: 8K, in any shape.
pub(super) const MAX_PIXELS: u32 = 8192 * 4320;

/// Containers, and pictures by themselves, that hold what is in them and point nowhere. Those of sound may hold a picture, and are
/// to be told from what is not opened.
const CONTAINERS: &str = "mov,matroska,webm,mpegts,mpegtsraw,mpeg,mpegvideo,avi,flv,live_flv,asf,asf_o,ogg,mxf,mxf_opatom,nut,ivf,\
    obu,h264,hevc,m4v,h263,h261,mjpeg,mjpeg_2000,mpjpeg,smjpeg,yuv4mpegpipe,dv,gxf,rm,wtv,swf,dhav,av1,vc1,vc1test,avs2,avs3,cavsvideo,\
    dirac,dnxhd,fits,gif,apng,image2,image2pipe,png_pipe,jpeg_pipe,jpegls_pipe,jpegxl_pipe,j2k_pipe,webp_pipe,bmp_pipe,\
    tiff_pipe,gem_pipe,ppm_pipe,pgm_pipe,pgmyuv_pipe,pbm_pipe,pam_pipe,pfm_pipe,phm_pipe,dpx_pipe,exr_pipe,qoi_pipe,sgi_pipe,\
    sunrast_pipe,xbm_pipe,xpm_pipe,xwd_pipe,pcx_pipe,hdr_pipe,ico,webp,mp3,wav,w64,flac,aac,ac3,eac3,aiff,au,caf";

/// A playlist, where one may lead to other addresses, and the words that are in it.
const PLAYLISTS: &str = "hls,webvtt";

/// Codecs of video: no sound and no subtitles are ever decoded.
pub(super) const CODECS: &str = "h264,hevc,mpeg4,mpeg2video,mpeg1video,mpegvideo,mjpeg,jpegls,jpeg2000,libopenjpeg,vp8,vp9,libvpx,\
    libvpx-vp9,av1,libdav1d,libaom-av1,h263,h263p,h263i,h261,flv,vp6,vp6f,vp6a,theora,dirac,vc1,wmv1,wmv2,wmv3,msmpeg4,msmpeg4v1,\
    msmpeg4v2,msmpeg4v3,svq1,svq3,cinepak,indeo3,indeo4,indeo5,rv10,rv20,rv30,rv40,dvvideo,dnxhd,prores,cfhd,hap,magicyuv,\
    utvideo,huffyuv,ffvhuff,ffv1,qtrle,rpza,smc,8bps,png,apng,gif,bmp,tiff,webp,ppm,pgm,pgmyuv,pbm,pam,pfm,phm,dpx,exr,qoi,sgi,\
    sunrast,xbm,xpm,xwd,pcx,fits,hdr,libjxl,targa,rawvideo,wrapped_avframe,v210,v210x,v308,v408,v410,r210,r10k,yuv4,y41p,\
    ayuv,cavs,libdavs2,libuavs3d,flashsv,flashsv2,zmbv,tscc,tscc2,msrle,msvideo1,mszh,zlib,snow,cllc,lagarith,dxv,vqa,bink";

/// Protocols and formats of what FFmpeg opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowed {
    protocols: &'static str,
    formats: &'static str,
    more: &'static str,
}

impl Allowed {
    /// Any film or picture in a file.
    pub(super) const FILE: Self = Self::only("file", CONTAINERS);

    /// What a command may write.
    pub(super) const COMMAND: Self = Self::only("pipe", "h264,hevc,mpegts,yuv4mpegpipe,mjpeg,mpjpeg");

    /// What is published to us: it comes from a process of ours, in the one form that it writes.
    pub(super) const PUBLISHED: Self = Self::only("unix", "matroska");

    const fn only(protocols: &'static str, formats: &'static str) -> Self {
        Self {
            protocols,
            formats,
            more: "",
        }
    }

    /// One of FFmpeg's devices. They open nothing by a protocol.
    pub(super) fn device(format: &'static str) -> Self {
        Self::only("none", format)
    }

    /// What comes over a network.
    pub(super) fn network(protocol: Protocol) -> Self {
        match protocol {
            // TLS is spoken before FFmpeg sees it.
            Protocol::Rtsp | Protocol::Rtsps => Self::only("tcp,rtp,udp,srtp", "rtsp"),
            Protocol::Http | Protocol::Https => Self {
                more: PLAYLISTS,
                ..Self::only("http,https,httpproxy,tls,tcp,crypto", CONTAINERS)
            },
            Protocol::Rtmp => Self::only("rtmp,tcp", "flv,live_flv"),
            Protocol::Rtmps => Self::only("rtmps,rtmp,tls,tcp", "flv,live_flv"),
            Protocol::Srt => Self::only("srt", "mpegts,h264,hevc"),
            Protocol::Udp => Self::only("udp", "mpegts,h264,hevc,mjpeg"),
        }
    }

    /// As FFmpeg takes them.
    pub(super) fn options(self) -> [(&'static str, String); 3] {
        let formats = [self.formats, self.more];
        let formats = formats.into_iter().filter(|list| !list.is_empty());
        [
            ("protocol_whitelist", self.protocols.to_owned()),
            ("format_whitelist", formats.collect::<Vec<_>>().join(",")),
            ("codec_whitelist", CODECS.to_owned()),
        ]
    }
}

"""The web page: drop a video, see who does what, where and when; and the page that labels people."""

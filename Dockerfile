# Owns the image that every service of docker-compose.yml runs: the code, its pinned requirements, an unprivileged user.
FROM python:3.12-slim
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 MALLOC_TRIM_THRESHOLD_=268435456 MALLOC_MMAP_THRESHOLD_=67108864
RUN useradd --system --uid 10001 auditlog && install -d -m 0700 -o auditlog -g auditlog /data /sealer
WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir --require-hashes --only-binary=:all: -r requirements.txt
COPY manage.py ./
COPY auditlog ./auditlog
COPY agents_app ./agents_app
COPY templates ./templates
COPY static ./static
USER auditlog
ENV AUDITLOG_DATA=/data
VOLUME /data
